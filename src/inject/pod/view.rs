//! The pod as a whole: the fields that podkey reads, and the questions that concern no single container.

use serde::Deserialize;

use crate::inject::pod::container::Container;
use crate::inject::pod::metadata::PodMetadata;
use crate::inject::pod::spec::Spec;
use crate::inject::pod::volumes::Volume;
use crate::inject::words::names;

/// A pod: the fields that podkey reads.
#[derive(Debug, Deserialize)]
pub struct Pod<'a> {
    #[serde(borrow, default)]
    pub(crate) metadata: PodMetadata<'a>,
    #[serde(borrow)]
    pub(crate) spec: Spec<'a>,
}

/// The JSON is not a v1 Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object is not a v1 Pod: line {line}, column {column} has another shape")]
pub struct UnreadablePod {
    /// Line of the JSON text, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl Pod<'_> {
    /// Parses the JSON of a pod. The error names the place only: it shows nothing of the pod.
    pub fn parse(json: &str) -> Result<Pod<'_>, UnreadablePod> {
        serde_json::from_str(json).map_err(|error| UnreadablePod {
            line: error.line(),
            column: error.column(),
        })
    }

    /// Whether JSON that [`Pod::parse`] cannot read may be a pod with annotations of podkey.
    pub(crate) fn may_have_annotations(json: &str) -> bool {
        #[derive(Deserialize)]
        struct MetadataAlone<'a> {
            #[serde(borrow)]
            metadata: PodMetadata<'a>,
        }
        match serde_json::from_str::<MetadataAlone<'_>>(json) {
            Ok(MetadataAlone { metadata }) => metadata
                .annotations
                .is_some_and(|annotations| !annotations.ours.is_empty()),
            Err(_) => true,
        }
    }

    /// Whether ARC made the pod to run a job in the container `runner`.
    pub(crate) fn is_runner(&self) -> bool {
        self.metadata.labels.as_ref().is_some_and(|labels| labels.is_runner)
    }

    /// Whether the pod is the pod of a job in ARC's kubernetes mode.
    pub(crate) fn is_workflow(&self) -> bool {
        self.metadata.labels.as_ref().is_some_and(|labels| labels.is_workflow)
    }

    /// Whether the pod has the container `podkey-init` already, or the plan of a pod without that container. (The API server calls
    /// podkey again after another webhook has changed the pod.)
    pub(crate) fn has_podkeys_parts(&self) -> bool {
        let mut containers = self.init_containers().iter();
        self.plan_annotation().is_some() || containers.any(|container| container.name == names::INIT_CONTAINER)
    }

    /// The plan that the pod carries as an annotation.
    pub(crate) fn plan_annotation(&self) -> Option<&str> {
        self.metadata.annotations.as_ref()?.plan()
    }

    /// The field by which the pod asks for Windows nodes.
    pub(crate) fn asks_for_windows(&self) -> Option<&'static str> {
        let selector = self.spec.node_selector.as_ref();
        if self.spec.os.as_ref().is_some_and(|os| os.name == "windows") {
            Some("spec.os.name")
        } else if selector.and_then(|selector| selector.os.as_deref()) == Some("windows") {
            Some("spec.nodeSelector")
        } else {
            None
        }
    }

    /// The service account whose token the pod gets.
    pub(crate) fn service_account(&self) -> &str {
        let names = [&self.spec.service_account_name, &self.spec.service_account];
        let mut names = names.into_iter().filter_map(Option::as_deref);
        names.find(|name| !name.is_empty()).unwrap_or("default")
    }

    /// Init containers, in their order.
    pub(crate) fn init_containers(&self) -> &[Container<'_>] {
        self.spec.init_containers.as_deref().unwrap_or_default()
    }

    /// Volumes, in their order.
    pub(crate) fn volumes(&self) -> &[Volume<'_>] {
        self.spec.volumes.as_deref().unwrap_or_default()
    }

    /// Init containers, then containers.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &Container<'_>> + Clone {
        self.init_containers().iter().chain(&self.spec.containers)
    }

    /// Init containers, then containers, without those that have a name of podkey's.
    pub(crate) fn authors_containers(&self) -> impl Iterator<Item = &Container<'_>> + Clone {
        self.all_containers()
            .filter(|container| !names::is_own(&container.name))
    }

    /// The user that the pod declares for all its containers.
    pub(crate) fn run_as_user(&self) -> Option<i64> {
        self.spec.security_context.as_ref()?.run_as_user
    }

    /// The user of the first container: its own, or the pod's.
    pub(crate) fn first_user(&self) -> Option<i64> {
        let own = self.spec.containers.first().and_then(Container::run_as_user);
        own.or_else(|| self.run_as_user())
    }

    /// The group that owns the pod's volumes.
    pub(crate) fn fs_group(&self) -> Option<i64> {
        self.spec.security_context.as_ref()?.fs_group
    }

    /// The group that the pod declares for all its containers.
    pub(crate) fn run_as_group(&self) -> Option<i64> {
        self.spec.security_context.as_ref()?.run_as_group
    }
}
