// One component's process: started apart from us, known again by its pid and start time, ended.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit = 90 * time.Second // for a busy machine with two cores
	stopLimit  = 20 * time.Second // then it is killed
)

// A program that runs for as long as the cluster does.
type component struct {
	name    string
	args    []string                    // the first is the program
	files   map[string]string           // its configuration: path and content
	answers func(context.Context) error // nil once it does its work
}

// What is kept of a running process. The start time, in ticks since the boot, tells it from another that got its pid.
type process struct {
	PID    int    `json:"pid"`
	Start  string `json:"start"`
	Boot   string `json:"boot"`
	Digest string `json:"digest"` // of what it was started with
}

func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is the program's name in parentheses, which may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

func (p process) alive() bool {
	return p.PID > 0 && p.Boot == bootID() && startTime(p.PID) == p.Start
}

func (p process) end() error {
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		// Found (by a pidfd) before it is looked at: the signal cannot reach a later process with its pid.
		found, err := os.FindProcess(p.PID)
		if err != nil || !p.alive() {
			return nil
		}
		_ = found.Signal(signal)
		for end := time.Now().Add(stopLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if !p.alive() {
				return nil
			}
		}
	}
	return fmt.Errorf("process %d does not end", p.PID)
}

func (c *cluster) record(name string) string { return filepath.Join(c.dir, "run", name+".json") }
func (c *cluster) log(name string) string    { return filepath.Join(c.dir, "logs", name+".log") }

func (c *cluster) process(name string) (p process) {
	if text, err := os.ReadFile(c.record(name)); err == nil {
		_ = json.Unmarshal(text, &p) // a torn file: as if it were not there
	}
	return p
}

func (c *cluster) stop(name string) error {
	if err := c.process(name).end(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.RemoveAll(c.record(name))
}

// Starts the component, unless it runs with these very arguments and files and answers.
func (c *cluster) start(component component) error {
	digest := c.digest(component)
	if p := c.process(component.name); p.alive() {
		if p.Digest == digest {
			if err := wait(5*time.Second, component.answers); err == nil {
				return nil
			}
			say("%s is there but does not answer: starting it again", component.name)
		}
		if err := c.stop(component.name); err != nil {
			return err
		}
	}
	for path, content := range component.files {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	began := time.Now()
	log, err := os.OpenFile(c.log(component.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(component.args[0], component.args[1:]...)
	command.Dir, command.Env = c.dir, c.environment()
	command.Stdout, command.Stderr = log, log
	// A session of its own: what ends the shell that we were started from does not end it.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("%s: %w", component.name, err)
	}
	p := process{command.Process.Pid, startTime(command.Process.Pid), bootID(), digest}
	text, _ := json.Marshal(p)
	if err := os.WriteFile(c.record(component.name), text, 0o600); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	err = wait(startLimit, func(ctx context.Context) error {
		select {
		case err := <-ended:
			return fatal{fmt.Errorf("it ended: %v", err)}
		default:
			return component.answers(ctx)
		}
	})
	if err != nil {
		return fmt.Errorf("%s does not come up: %w\n%s\n(all of it: %s)",
			component.name, err, tail(c.log(component.name)), c.log(component.name))
	}
	say("%s is up after %.1f s", component.name, time.Since(began).Seconds())
	return nil
}

// Of its arguments, files and program, wherever the tools are: another clone's `up` must not start everything again.
func (c *cluster) digest(component component) string {
	paths := slices.Sorted(maps.Keys(component.files))
	text := fmt.Sprintf("%q", component.args)
	for _, path := range paths {
		text += fmt.Sprintf("%q %q", path, component.files[path])
	}
	if info, err := os.Stat(component.args[0]); err == nil {
		text += fmt.Sprint(info.Size())
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.ReplaceAll(text, c.tools, ""))))
}

// An error that waiting does not mend.
type fatal struct{ error }

// Asks until there is no error, or the time is over: then the last error.
func wait(limit time.Duration, ask func(context.Context) error) error {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := ask(ctx)
		cancel()
		if _, is := err.(fatal); err == nil || is || time.Now().After(end) {
			return err
		}
	}
}

func tail(path string) string {
	text, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
