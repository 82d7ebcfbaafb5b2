//! Whether the cluster has the volume of an image, if the operator wants the agent to come as one.

use crate::inject::config::Config;
use crate::inject::kubernetes::KubernetesVersion;
use crate::inject::problem::Problems;
use crate::inject::survey::Survey;
use crate::plan::Binary;

/// Reports a cluster that is too old. (The API server would drop the field, and the message about the volume would tell nobody why.)
pub(super) fn check(survey: &Survey<'_>, config: &Config, problems: &mut Problems) {
    let needed = KubernetesVersion::IMAGE_VOLUMES;
    let older = config.older_than(needed);
    if let (Binary::ImageVolume, Some(version)) = (survey.binary, older) {
        problems.push_for_operator(
            "spec.volumes",
            format!(
                "the operator's agent.binary: imageVolume needs Kubernetes {needed} or later, and this cluster has {version}: ask the \
                 operator to write agent.binary: copy"
            ),
        );
    }
}
