//! Commands that change the manifest of the pod.

use serde_json::{Value, json};

use super::words::{command, quote};

/// A manifest that kubectl can patch without the cluster: a file with one object of a kind that kubectl knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The path of the file, as the user gave it.
    pub(super) file: String,
    /// The place of the pod template, such as `/spec/template`. Empty: the object is a pod.
    pub(super) template: &'static str,
    /// Whether the file has a comment, which kubectl would delete.
    pub(super) has_comments: bool,
}

impl Manifest {
    /// The command that changes the pod, or the pod template, in the file.
    pub(super) fn patch_pod(&self, change: Value) -> String {
        let parts = self.template.split('/').filter(|part| !part.is_empty()).rev();
        self.patch(&parts.fold(change, |inner, part| json!({part: inner})))
    }

    /// The command that changes the object in the file. Of a file with comments, it shows the changed object, and leaves the file alone.
    pub(super) fn patch(&self, change: &Value) -> String {
        let (new, change) = (quote(&format!("{}.new", self.file)), change.to_string());
        let patch = [
            "kubectl",
            "patch",
            "--local",
            "-f",
            &self.file,
            "--type=strategic",
            "-p",
            &change,
            "-o",
            "yaml",
        ];
        match self.has_comments {
            true => command(&patch),
            false => format!("{} > {new} && mv {new} {}", command(&patch), quote(&self.file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comments_of_a_user_s_file_are_not_deleted() {
        let mut manifest = Manifest {
            file: "web.yaml".to_owned(),
            template: "/spec/template",
            has_comments: false,
        };
        assert!(
            manifest
                .patch_pod(json!({}))
                .ends_with("-o yaml > web.yaml.new && mv web.yaml.new web.yaml")
        );
        manifest.has_comments = true;
        assert!(manifest.patch_pod(json!({})).ends_with("-o yaml"));
    }
}
