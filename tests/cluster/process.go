// One component's process: started apart from us, found again, ended.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
	own     string                      // the argument that no other component of the same program has, if there is one
	files   map[string]string           // its configuration: path and content
	answers func(context.Context) error // nil once it does its work
	// nil once it is as `start --sealed` leaves it.
	unusable func(context.Context) error
}

// Nothing is kept of a running process: it is known by its environment (its home is the state directory, which no other
// process has) and its program's name. So nothing gets lost or out of date, and nobody else's process is ever ended.
const digestVariable = "PODKEY_E2E_DIGEST=" // what it was started with

// Every process that was started for this cluster, directly or by a component: containerd's shims too.
func (c *cluster) processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && slices.Contains(nulls(pid, "environ"), "HOME="+c.dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Its arguments or environment; none of a process that has ended, or is another user's.
func nulls(pid int, file string) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	return strings.Split(string(text), "\x00")
}

// The component's processes: one, or none, or more if two were started by mistake.
func (c *cluster) running(component component) []int {
	return slices.DeleteFunc(c.processes(), func(pid int) bool {
		args := nulls(pid, "cmdline")
		return filepath.Base(args[0]) != filepath.Base(component.args[0]) ||
			component.own != "" && !slices.Contains(args, component.own)
	})
}

func (c *cluster) stop(component component) error {
	return c.end(component, syscall.SIGTERM, syscall.SIGKILL)
}

// Ends it as a lack of memory does.
func (c *cluster) kill(component component) error { return c.end(component, syscall.SIGKILL) }

// Sends one signal after the other, until it has ended.
func (c *cluster) end(component component, signals ...os.Signal) error {
	for _, signal := range signals {
		for _, pid := range c.running(component) {
			// Found (by a pidfd) before it is looked at again: the signal cannot reach a later process with its pid.
			if found, err := os.FindProcess(pid); err == nil && slices.Contains(c.running(component), pid) {
				_ = found.Signal(signal)
			}
		}
		for end := time.Now().Add(stopLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if len(c.running(component)) == 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("%s does not end", component.name)
}

func (c *cluster) log(name string) string { return c.path("logs", name+".log") }

// Starts the component, unless it runs with these very arguments and files and answers.
func (c *cluster) start(component component) error {
	digest := digestVariable + c.digest(component)
	if pids := c.running(component); len(pids) > 0 {
		if len(pids) == 1 && slices.Contains(nulls(pids[0], "environ"), digest) {
			if err := wait(5*time.Second, component.answers); err == nil {
				return nil
			}
			say("%s is there but does not answer: starting it again", component.name)
		}
		if err := c.stop(component); err != nil {
			return err
		}
	}
	for path, content := range component.files {
		if err := replace(path, content); err != nil {
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
	command.Dir, command.Env = c.dir, append(c.environment(), digest)
	command.Stdout, command.Stderr = log, log
	// A session of its own: what ends the shell that we were started from does not end it.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("%s: %w", component.name, err)
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
