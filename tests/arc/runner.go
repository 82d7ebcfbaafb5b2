// The runner, on the points that job hooks depend on: what it sets for them, how it starts them, and what it makes of their
// output and their files. tests/support/runner.rs has the same in all detail, with its sources in actions/runner.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	jitVariable       = "ACTIONS_RUNNER_INPUT_JITCONFIG"
	startedVariable   = "ACTIONS_RUNNER_HOOK_JOB_STARTED"
	completedVariable = "ACTIONS_RUNNER_HOOK_JOB_COMPLETED"
	work              = "/home/runner/_work"
)

// What generatejitconfig gives, in base64.
type jit struct {
	URL  string `json:"url"` // of this runner's own calls
	CA   string `json:"ca"`
	Name string `json:"name"`
}

// One job on its way.
type execution struct {
	job
	jit
	client *http.Client
	env    map[string]string // what GITHUB_ENV gave to the later steps
	masks  []string
	log    strings.Builder
	failed bool
}

func run() error {
	text, err := base64.StdEncoding.DecodeString(os.Getenv(jitVariable))
	if err != nil {
		return fmt.Errorf("%s: %w", jitVariable, err)
	}
	e := execution{env: map[string]string{}}
	if err := json.Unmarshal(text, &e.jit); err != nil {
		return fmt.Errorf("%s: %w", jitVariable, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(e.CA))
	e.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	if err := waitForDocker(); err != nil {
		return err
	}
	if err := e.listen(); err != nil {
		return err
	}
	if err := e.execute(); err != nil {
		e.say("##[error]" + err.Error())
		e.failed = true
	}
	e.Result = "succeeded"
	if e.failed {
		e.Result = "failed"
	}
	_, err = e.call("/result", map[string]string{"result": e.Result, "log": e.log.String()}, nil)
	return err
}

// As with ARC's dind: the job begins when dockerd answers.
func waitForDocker() error {
	socket, is := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	seconds, err := strconv.Atoi(os.Getenv("RUNNER_WAIT_FOR_DOCKER_IN_SECONDS"))
	if !is || err != nil {
		return nil
	}
	for range seconds * 10 {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s does not appear", socket)
}

// Waits for a job, however long that takes.
func (e *execution) listen() error {
	fmt.Println("Listening for Jobs")
	for {
		status, err := e.call("/job", nil, &e.job)
		if err != nil || status == http.StatusOK {
			return err
		}
	}
}

func (e *execution) call(path string, body, answer any) (int, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	response, err := e.client.Post(e.URL+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return response.StatusCode, fmt.Errorf("%s: %s", path, response.Status)
	}
	if answer == nil || response.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, response.Body)
		return response.StatusCode, nil
	}
	return response.StatusCode, json.NewDecoder(response.Body).Decode(answer)
}

func (e *execution) execute() error {
	temp := filepath.Join(work, "_temp")
	// The runner empties it when a job begins.
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	for _, dir := range []string{temp, filepath.Join(work, "octo-repo/octo-repo")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(temp, "event.json"), []byte("{}"), 0o644); err != nil {
		return err
	}
	steps := []error{e.hook(startedVariable)}
	if !e.failed {
		steps = append(steps, e.step())
	}
	return errors.Join(append(steps, e.hook(completedVariable))...)
}

func (e *execution) hook(variable string) error {
	path := os.Getenv(variable)
	if path == "" {
		return nil
	}
	return e.shell(path, nil)
}

func (e *execution) step() error {
	script := filepath.Join(work, "_temp/step.sh")
	if err := os.WriteFile(script, []byte(e.Script), 0o755); err != nil {
		return err
	}
	if e.Container != "" {
		return e.inContainer()
	}
	return e.shell(script, e.env)
}

// Runs a script as the runner does: `sh -e` in the workspace, with its variables and new command files.
func (e *execution) shell(script string, env map[string]string) error {
	temp := filepath.Join(work, "_temp")
	workspace := filepath.Join(work, "octo-repo/octo-repo")
	variables := map[string]string{
		"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "octo-org/octo-repo", "GITHUB_REPOSITORY_OWNER": "octo-org",
		"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main", "GITHUB_REF_PROTECTED": "true",
		"GITHUB_JOB": "build", "GITHUB_RUN_ID": "1", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_WORKSPACE": workspace,
		"GITHUB_EVENT_PATH": filepath.Join(temp, "event.json"), "RUNNER_NAME": e.Name, "RUNNER_TEMP": temp,
		"RUNNER_WORKSPACE": filepath.Dir(workspace),
	}
	for _, file := range []string{"GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"} {
		variables[file] = filepath.Join(temp, strings.ToLower(file))
		if err := os.WriteFile(variables[file], nil, 0o644); err != nil {
			return err
		}
	}
	maps.Copy(variables, env)
	command := exec.Command("sh", "-e", script)
	command.Dir = workspace
	command.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, jitVariable+"=") })
	for name, value := range variables {
		command.Env = append(command.Env, name+"="+value)
	}
	e.run(command)
	set, err := os.ReadFile(variables["GITHUB_ENV"])
	if err != nil {
		return err
	}
	return e.take(string(set))
}

func (e *execution) run(command *exec.Cmd) {
	output, err := command.CombinedOutput()
	for line := range strings.Lines(string(output)) {
		line = strings.TrimSuffix(line, "\n")
		if mask, is := strings.CutPrefix(line, "::add-mask::"); is {
			e.masks = append(e.masks, strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(mask))
			continue
		}
		e.say(line)
	}
	if err != nil {
		e.failed = true
		e.say(fmt.Sprintf("##[error]Process completed: %v", err))
	}
}

// Into the job's log, and the container's.
func (e *execution) say(line string) {
	for _, mask := range e.masks {
		line = strings.ReplaceAll(line, mask, "***")
	}
	fmt.Println(line)
	e.log.WriteString(line + "\n")
}

// Lines of GITHUB_ENV: NAME=VALUE, or NAME<<END, lines, END.
func (e *execution) take(text string) error {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if name, end, is := strings.Cut(lines[i], "<<"); is {
			last := slices.Index(lines[i+1:], end)
			if last < 0 {
				return fmt.Errorf("GITHUB_ENV: the end of %s is missing", name)
			}
			e.env[name] = strings.Join(lines[i+1:i+1+last], "\n")
			i += last + 1
		} else if name, value, is := strings.Cut(lines[i], "="); is {
			e.env[name] = value
		} else if lines[i] != "" {
			return fmt.Errorf("GITHUB_ENV: line %d makes no sense", i+1)
		}
	}
	return nil
}
