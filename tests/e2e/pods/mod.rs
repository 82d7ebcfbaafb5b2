//! What a pod is and where it runs: Pod Security, quotas, users, volumes, other webhooks, and what the kubelet does with it.

mod admission;
mod files;
mod life;
mod other_webhooks;
mod users;
