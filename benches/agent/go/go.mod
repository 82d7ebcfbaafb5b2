module podkey.dev/bench/agent

go 1.21
