# One short object for each line of OpenBao's audit log that has podkey's header: who says it sent the request, and what the server itself
# checked. docs/operate/audit-trail.md describes the fields.
(.request.headers["x-correlation-id"][0]? // "") as $header
| select($header | startswith("podkey "))
| ($header | split(" ")) as $words
| $words[1] as $by
| ([$words[2:][] | capture("^(?<key>[^=]+)=(?<value>.*)$")] | from_entries) as $said
# The answer to a login has .auth too; a refused login has none. A token of auth/token/create has no login: its creator chose the metadata.
| (.auth.display_name // "") as $name
| (if $name | test("^token(-|$)") then {} else .auth.metadata // {} end) as $login
| ($login.service_account_namespace // $login.pod_namespace) as $namespace
| {
    time, type, id: .request.id,
    by: $by,
    pod: $said.pod, uid: $said.uid, runner: $said["claimed-runner"],
    repository: $said["claimed-repository"], run: $said["claimed-run"], attempt: $said["claimed-attempt"], job: $said["claimed-job"],
    operation: .request.operation, path: .request.path, error,
    accessor: (.auth.accessor // .response.auth.accessor),
    mount: (if .request.path // "" | test("^auth/.*/login$") then .request.path[5:-6] else null end),
    display_name: .auth.display_name,
    login: $login,
    # One word for each fact of the header that the login has too.
    confirmed: [
      if $by == "job" or $said.pod == null or $namespace == null then empty
      elif "\($namespace)/\($login.pod)" == $said.pod then "pod"
      elif $namespace == ($said.pod | split("/")[0]) then "namespace"
      else empty end,
      (select($by == "job" and $said["claimed-repository"] != null and $login.repository == $said["claimed-repository"]) | "repository"),
      (select($by == "job" and $said["claimed-run"] != null and $login.run_id == $said["claimed-run"]) | "run")
    ]
  }
| with_entries(select(.value != null))
