// A job with a container in ARC's kubernetes mode: the runner's container hooks (actions/runner-container-hooks, packages/k8s)
// make a workflow pod by the runner's own service account. This file does what they do to that pod, with kubectl.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// The step runs in the container `job` of a pod that exists for this job.
func (e *execution) inContainer() error {
	name := os.Getenv("ACTIONS_RUNNER_POD_NAME") + "-workflow"
	metadata := map[string]any{}
	// The author's template. The hooks read YAML; the tests' template is JSON, which is YAML too.
	if path := os.Getenv("ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var template struct{ Metadata map[string]any }
		if err := json.Unmarshal(text, &template); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		metadata = template.Metadata
	}
	metadata["name"] = name
	metadata["labels"] = map[string]string{"runner-pod": os.Getenv("ACTIONS_RUNNER_POD_NAME")}
	pod, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
		"spec": map[string]any{"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": []any{map[string]any{
			"name": "job", "image": e.Container, "command": []string{"tail", "-f", "/dev/null"},
		}}},
	})
	if err != nil {
		return err
	}
	create := exec.Command("kubectl", "create", "-f", "-")
	create.Stdin = bytes.NewReader(pod)
	if output, err := create.CombinedOutput(); err != nil {
		return fmt.Errorf("create %s: %w: %s", name, err, output)
	}
	wait := exec.Command("kubectl", "wait", "--for=condition=Ready", "--timeout=120s", "pod/"+name)
	if output, err := wait.CombinedOutput(); err != nil {
		return fmt.Errorf("wait for %s: %w: %s", name, err, output)
	}
	args := []string{"exec", name, "-c", "job", "--", "env"}
	for variable, value := range e.env {
		args = append(args, variable+"="+value)
	}
	e.run(exec.Command("kubectl", append(args, "sh", "-e", "-c", e.Script)...))
	return exec.Command("kubectl", "delete", "pod", name, "--wait=false").Run()
}
