//! The words of `podkey.dev/env-delivery`.

use crate::plan::words::words;

words! {
    /// How the variables of `podkey.dev/env` reach the containers.
    pub(crate) enum EnvDelivery {
        /// podkey chooses for each container: the job hooks in a runner pod, else the agent in front of a command that the pod names,
        /// else the kubelet.
        Auto = "auto",
        /// The runner's job hooks export the variables to the steps of a job.
        Hooks = "hooks",
        /// The agent stands in front of the container's command and sets the variables.
        Exec = "exec",
        /// The kubelet sets the variables when the container starts (`valueFrom.fileKeyRef`).
        Kubelet = "kubelet",
    }
    default Auto
}
