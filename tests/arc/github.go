// The stand-in for GitHub's service: what ARC's controller and listener call, as github/actions/client.go of ARC calls it, and
// beside that the runner's own calls and the tests'.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// How long a request for a message or a job waits. GitHub's waits 50 s.
const longPoll = 20 * time.Second

type service struct {
	url, ca  string
	lock     sync.Mutex
	changed  chan struct{} // closed at each change
	last     int           // the last id that anything was given
	sets     []*scaleSet
	runners  []*runner
	jobs     []*job
	messages []message
}

type scaleSet struct {
	ID              int         `json:"id"`
	Name            string      `json:"name"`
	RunnerGroupID   int         `json:"runnerGroupId"`
	RunnerGroupName string      `json:"runnerGroupName"`
	Labels          any         `json:"labels,omitempty"`
	RunnerSetting   any         `json:"RunnerSetting,omitempty"`
	Statistics      *statistics `json:"statistics,omitempty"`
}

type statistics struct {
	Available  int `json:"totalAvailableJobs"`
	Acquired   int `json:"totalAcquiredJobs"`
	Assigned   int `json:"totalAssignedJobs"`
	Running    int `json:"totalRunningJobs"`
	Registered int `json:"totalRegisteredRunners"`
	Busy       int `json:"totalBusyRunners"`
	Idle       int `json:"totalIdleRunners"`
}

type runner struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	ScaleSet int    `json:"runnerScaleSetId"`
}

type message struct {
	scaleSet int
	id       int
	body     string
}

const (
	available = "available" // the listener has not acquired the job
	queued    = "queued"    // no runner has taken the job
	running   = "running"
	completed = "completed"
)

type job struct {
	ID       int    `json:"id"`
	ScaleSet int    `json:"-"`
	Script   string `json:"script"`
	// The image of a job container; none: the step runs in the runner's.
	Container string    `json:"container,omitempty"`
	State     string    `json:"state"`
	Runner    string    `json:"runner"`
	Result    string    `json:"result"`
	Log       string    `json:"log"`
	Queued    time.Time `json:"queued"`
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended"`
}

func serve(address string) error {
	listener, ca, err := listen(address)
	if err != nil {
		return err
	}
	s := &service{url: "https://" + listener.Addr().String(), ca: ca, changed: make(chan struct{})}
	first, err := json.Marshal(map[string]string{"url": s.url, "ca": ca})
	if err != nil {
		return err
	}
	fmt.Println(string(first))
	return http.Serve(listener, s.routes())
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	sets, agents := "/_apis/runtime/runnerscalesets", "/_apis/distributedtask/pools/0/agents"
	for pattern, handler := range map[string]func(*http.Request) (int, any){
		// GitHub's API, as on a server of one's own: it tells where the actions service is.
		"POST /api/v3/{scope}/{name}/actions/runners/registration-token":         s.registrationToken,
		"POST /api/v3/{scope}/{owner}/{name}/actions/runners/registration-token": s.registrationToken,
		"POST /api/v3/actions/runner-registration":                               s.registration,

		"GET /_apis/runtime/runnergroups/{$}": s.runnerGroup,
		"GET " + sets:                         s.scaleSets,
		"POST " + sets:                        s.createScaleSet,
		"GET " + sets + "/{set}":              s.withScaleSet(s.readScaleSet),
		"PATCH " + sets + "/{set}":            s.withScaleSet(s.readScaleSet),
		"DELETE " + sets + "/{set}":           s.withScaleSet(s.deleteScaleSet),

		"POST " + sets + "/{set}/sessions":             s.withScaleSet(s.session),
		"PATCH " + sets + "/{set}/sessions/{session}":  s.withScaleSet(s.session),
		"DELETE " + sets + "/{set}/sessions/{session}": nothing,
		"GET /messages/{set}":                          s.nextMessage,
		"DELETE /messages/{set}/{message}":             s.deleteMessage,
		"GET " + sets + "/{set}/acquirablejobs":        s.withScaleSet(s.acquirableJobs),
		"POST " + sets + "/{set}/acquirejobs":          s.withScaleSet(s.acquireJobs),
		"POST " + sets + "/{set}/generatejitconfig":    s.withScaleSet(s.jitConfig),
		"GET " + agents:                                s.runnersByName,
		"GET " + agents + "/{runner}":                  s.readRunner,
		"DELETE " + agents + "/{runner}":               s.removeRunner,

		"POST /runner/{runner}/job":    s.takeJob,
		"POST /runner/{runner}/result": s.completeJob,

		"POST /test/jobs": s.queueJobs,
		"GET /test/jobs":  s.locked(func(*http.Request) (int, any) { return 200, s.jobs }),
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			status, body := handler(r)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			if body != nil {
				_ = json.NewEncoder(w).Encode(body)
			}
		})
	}
	return mux
}

func nothing(*http.Request) (int, any) { return http.StatusNoContent, nil }

// An error as the actions service tells it: ARC looks at the type.
func problem(status int, kind string) (int, any) {
	return status, map[string]string{"typeName": "GitHub.DistributedTask.WebApi." + kind, "message": kind}
}

func (s *service) locked(handler func(*http.Request) (int, any)) func(*http.Request) (int, any) {
	return func(r *http.Request) (int, any) {
		s.lock.Lock()
		defer s.lock.Unlock()
		status, body := handler(r)
		// Copied before the lock is given back.
		text, _ := json.Marshal(body)
		return status, json.RawMessage(text)
	}
}

func (s *service) withScaleSet(handler func(*http.Request, *scaleSet) (int, any)) func(*http.Request) (int, any) {
	return func(r *http.Request) (int, any) {
		s.lock.Lock()
		defer s.lock.Unlock()
		id, _ := strconv.Atoi(r.PathValue("set"))
		for _, set := range s.sets {
			if set.ID == id {
				return handler(r, set)
			}
		}
		return problem(http.StatusNotFound, "RunnerScaleSetNotFoundException")
	}
}

func (s *service) runner(r *http.Request) *runner {
	for _, runner := range s.runners {
		if strconv.Itoa(runner.ID) == r.PathValue("runner") {
			return runner
		}
	}
	return nil
}

func (s *service) next() int {
	s.last++
	return s.last
}

func (s *service) registrationToken(*http.Request) (int, any) {
	return http.StatusCreated, map[string]any{"token": "registration", "expires_at": time.Now().Add(time.Hour)}
}

func (s *service) registration(*http.Request) (int, any) {
	// ARC reads the end of the token's life, and verifies nothing.
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	claims := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix())
	return 200, map[string]string{"url": s.url, "token": part(`{"alg":"HS256","typ":"JWT"}`) + "." + part(claims) + "." + part("none")}
}

func (s *service) runnerGroup(r *http.Request) (int, any) {
	name := r.URL.Query().Get("groupName")
	return 200, map[string]any{"count": 1, "value": []any{map[string]any{"id": 1, "name": name, "isDefaultGroup": true}}}
}

func (s *service) scaleSets(r *http.Request) (int, any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	found := []*scaleSet{}
	for _, set := range s.sets {
		if set.Name == r.URL.Query().Get("name") {
			found = append(found, set)
		}
	}
	return 200, map[string]any{"count": len(found), "value": found}
}

func (s *service) createScaleSet(r *http.Request) (int, any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	set := &scaleSet{RunnerGroupName: "Default"}
	if err := json.NewDecoder(r.Body).Decode(set); err != nil {
		return problem(http.StatusBadRequest, err.Error())
	}
	set.ID = s.next()
	s.sets = append(s.sets, set)
	return 200, set
}

func (s *service) readScaleSet(_ *http.Request, set *scaleSet) (int, any) { return 200, set }

func (s *service) deleteScaleSet(_ *http.Request, set *scaleSet) (int, any) {
	s.sets = slices.DeleteFunc(s.sets, func(other *scaleSet) bool { return other == set })
	return http.StatusNoContent, nil
}

// GitHub refuses a second session of a scale set until the first ends. Here the newest counts: a listener that was killed does
// not hold up the next.
func (s *service) session(_ *http.Request, set *scaleSet) (int, any) {
	counts := s.statistics(set.ID)
	return 200, map[string]any{
		"sessionId": "00000000-0000-4000-8000-000000000001", "ownerName": "listener", "runnerScaleSet": set,
		"messageQueueUrl": fmt.Sprintf("%s/messages/%d", s.url, set.ID), "messageQueueAccessToken": "queue", "statistics": counts,
	}
}

func (s *service) statistics(set int) *statistics {
	var counts statistics
	for _, job := range s.jobs {
		switch {
		case job.ScaleSet != set:
		case job.State == available:
			counts.Available++
		case job.State == queued:
			counts.Acquired++
			counts.Assigned++
		case job.State == running:
			counts.Assigned++
			counts.Running++
		}
	}
	for _, runner := range s.runners {
		if runner.ScaleSet == set {
			counts.Registered++
		}
	}
	counts.Busy = counts.Running
	counts.Idle = max(0, counts.Registered-counts.Busy)
	return &counts
}

// Tells the listener of a job, and wakes all who wait.
func (s *service) tell(kind string, j *job) {
	id := 0
	for _, runner := range s.runners {
		if runner.Name == j.Runner {
			id = runner.ID
		}
	}
	body, _ := json.Marshal([]map[string]any{{
		"messageType": kind, "runnerRequestId": j.ID, "jobId": fmt.Sprint("job-", j.ID), "repositoryName": "octo-repo",
		"ownerName": "octo-org", "jobWorkflowRef": "octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main",
		"jobDisplayName": "build", "workflowRunId": 1, "eventName": "push", "result": j.Result, "runnerId": id, "runnerName": j.Runner,
		"queueTime": j.Queued, "scaleSetAssignTime": j.Queued, "runnerAssignTime": j.Started, "finishTime": j.Ended,
	}})
	s.messages = append(s.messages, message{scaleSet: j.ScaleSet, id: s.next(), body: string(body)})
	close(s.changed)
	s.changed = make(chan struct{})
}

// Looks at each change until there is an answer; an empty one after the time of a long poll.
func (s *service) poll(r *http.Request, empty int, look func() (int, any)) (int, any) {
	for end := time.After(longPoll); ; {
		s.lock.Lock()
		status, body := look()
		changed := s.changed
		s.lock.Unlock()
		if status != 0 {
			return status, body
		}
		select {
		case <-changed:
		case <-end:
			return empty, nil
		case <-r.Context().Done():
			return empty, nil
		}
	}
}

func (s *service) nextMessage(r *http.Request) (int, any) {
	set, _ := strconv.Atoi(r.PathValue("set"))
	seen, _ := strconv.Atoi(r.URL.Query().Get("lastMessageId"))
	return s.poll(r, http.StatusAccepted, func() (int, any) {
		for _, message := range s.messages {
			if message.scaleSet == set && message.id > seen {
				return 200, map[string]any{
					"messageId": message.id, "messageType": "RunnerScaleSetJobMessages", "body": message.body,
					"statistics": s.statistics(set),
				}
			}
		}
		return 0, nil
	})
}

func (s *service) deleteMessage(r *http.Request) (int, any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m message) bool { return strconv.Itoa(m.id) == r.PathValue("message") })
	return http.StatusNoContent, nil
}

func (s *service) acquirableJobs(_ *http.Request, set *scaleSet) (int, any) {
	jobs := []any{}
	for _, job := range s.jobs {
		if job.ScaleSet == set.ID && job.State == available {
			jobs = append(jobs, map[string]any{"messageType": "JobAvailable", "runnerRequestId": job.ID})
		}
	}
	return 200, map[string]any{"count": len(jobs), "value": jobs}
}

func (s *service) acquireJobs(r *http.Request, set *scaleSet) (int, any) {
	var ids []int
	if err := json.NewDecoder(r.Body).Decode(&ids); err != nil {
		return problem(http.StatusBadRequest, err.Error())
	}
	acquired := []int{}
	for _, job := range s.jobs {
		if job.ScaleSet == set.ID && job.State == available && slices.Contains(ids, job.ID) {
			job.State = queued
			acquired = append(acquired, job.ID)
			s.tell("JobAssigned", job)
		}
	}
	return 200, map[string]any{"count": len(acquired), "value": acquired}
}

func (s *service) jitConfig(r *http.Request, set *scaleSet) (int, any) {
	var setting struct{ Name string }
	if err := json.NewDecoder(r.Body).Decode(&setting); err != nil {
		return problem(http.StatusBadRequest, err.Error())
	}
	for _, runner := range s.runners {
		if runner.Name == setting.Name {
			return problem(http.StatusConflict, "AgentExistsException")
		}
	}
	runner := &runner{ID: s.next(), Name: setting.Name, ScaleSet: set.ID}
	s.runners = append(s.runners, runner)
	config, _ := json.Marshal(jit{URL: fmt.Sprintf("%s/runner/%d", s.url, runner.ID), CA: s.ca, Name: runner.Name})
	return 200, map[string]any{"runner": runner, "encodedJITConfig": base64.StdEncoding.EncodeToString(config)}
}

func (s *service) runnersByName(r *http.Request) (int, any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	found := []runner{}
	for _, runner := range s.runners {
		if runner.Name == r.URL.Query().Get("agentName") {
			found = append(found, *runner)
		}
	}
	return 200, map[string]any{"count": len(found), "value": found}
}

func (s *service) readRunner(r *http.Request) (int, any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if runner := s.runner(r); runner != nil {
		return 200, runner
	}
	return problem(http.StatusNotFound, "AgentNotFoundException")
}

// Of a runner that is gone already too.
func (s *service) removeRunner(r *http.Request) (int, any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	gone := s.runner(r)
	for _, job := range s.jobs {
		if gone != nil && job.State == running && job.Runner == gone.Name {
			return problem(http.StatusBadRequest, "JobStillRunningException")
		}
	}
	s.forget(gone)
	return http.StatusNoContent, nil
}

func (s *service) forget(gone *runner) {
	s.runners = slices.DeleteFunc(s.runners, func(other *runner) bool { return other == gone })
}

// The runner's session: the next job of its scale set, and 404 once the runner was removed.
func (s *service) takeJob(r *http.Request) (int, any) {
	return s.poll(r, http.StatusAccepted, func() (int, any) {
		runner := s.runner(r)
		if runner == nil {
			return problem(http.StatusNotFound, "AgentNotFoundException")
		}
		for _, job := range s.jobs {
			if job.ScaleSet == runner.ScaleSet && job.State == queued {
				job.State, job.Runner, job.Started = running, runner.Name, time.Now()
				s.tell("JobStarted", job)
				return 200, *job
			}
		}
		return 0, nil
	})
}

// An ephemeral runner is gone with its job.
func (s *service) completeJob(r *http.Request) (int, any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	var outcome job
	runner := s.runner(r)
	if err := json.NewDecoder(r.Body).Decode(&outcome); err != nil || runner == nil {
		return problem(http.StatusBadRequest, "TaskAgentJobNotFoundException")
	}
	for _, job := range s.jobs {
		if job.State == running && job.Runner == runner.Name {
			job.State, job.Result, job.Log, job.Ended = completed, outcome.Result, outcome.Log, time.Now()
			s.tell("JobCompleted", job)
		}
	}
	s.forget(runner)
	return http.StatusNoContent, nil
}

func (s *service) queueJobs(r *http.Request) (int, any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	wanted := struct {
		ScaleSet, Script, Container string
		Count                       int
	}{}
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		return problem(http.StatusBadRequest, err.Error())
	}
	for _, set := range s.sets {
		if set.Name != wanted.ScaleSet {
			continue
		}
		for range wanted.Count {
			job := &job{ID: s.next(), ScaleSet: set.ID, Script: wanted.Script, Container: wanted.Container, State: available, Queued: time.Now()}
			s.jobs = append(s.jobs, job)
			s.tell("JobAvailable", job)
		}
		return http.StatusNoContent, nil
	}
	return problem(http.StatusNotFound, "RunnerScaleSetNotFoundException")
}
