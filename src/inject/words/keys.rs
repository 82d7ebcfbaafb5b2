//! podkey's annotations: one row for each, with the key and the meaning. A new row makes an annotation known everywhere: messages,
//! suggestions and reference pages read this table, and `request::annotations` does not compile before it has a parser for the row.

use crate::inject::words::documented_key::{DocumentedKey, Scope};

macro_rules! prefix {
    () => {
        "podkey.dev/"
    };
}

/// What the keys of podkey's annotations begin with.
pub const PREFIX: &str = prefix!();

/// One annotation.
pub(crate) struct Annotation {
    pub(crate) documented: DocumentedKey,
    pub(crate) key: AnnotationKey,
    /// The key without [`PREFIX`].
    pub(crate) name: &'static str,
    pub(crate) shape: ValueShape,
}

/// How the value is written in YAML. The message about a value that is not text depends on the shape.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueShape {
    /// Many lines that name secrets. A pod that asks for podkey has at least one annotation of this shape.
    Secrets,
    /// Many lines.
    Lines,
    /// Names with commas between them.
    Names,
    /// One word.
    Word,
}

/// Makes a constant of each key, and the table of all. The doc comment of a row is the annotation's meaning.
macro_rules! annotations {
    ($($(#[doc = $meaning:literal])+ $visibility:vis $NAME:ident = $Key:ident, $name:literal: $shape:ident, $scope:ident,
        default $default:literal, example $example:literal;)+) => {
        $(
            $(#[doc = $meaning])+
            $visibility const $NAME: &str = concat!(prefix!(), $name);
        )+

        /// One of the annotations.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum AnnotationKey {
            $($Key),+
        }

        pub(crate) const ANNOTATIONS: &[Annotation] = &[$(Annotation {
            documented: DocumentedKey {
                key: $NAME,
                meaning: concat!($($meaning),+).trim_ascii(),
                default: $default,
                scope: Scope::$scope,
                example: $example,
            },
            key: AnnotationKey::$Key,
            name: $name,
            shape: ValueShape::$shape,
        }),+];
    };
}

annotations! {
    /// Which of the operator's connections the pod uses.
    pub(crate) CONNECTION = Connection, "connection": Word, AllPods, default "`default`", example "default";

    /// The Vault role to log in as.
    pub(crate) ROLE = Role, "role": Word, AllPods, default "the role of the connection", example "web";

    /// Where the auth method is mounted.
    pub(crate) AUTH_MOUNT = AuthMount, "auth-mount": Word, AllPods, default "the mount of the connection", example "my-cluster/runners";

    /// Secrets to deliver as files: a YAML list.
    pub(crate) FILES = Files, "files": Secrets, AllPods, default "no files", example "- { secret: kv/data/web, file: web.json }";

    /// Secrets to deliver as environment variables, in the grammar of vault-action.
    pub(crate) ENV = Env, "env": Secrets, AllPods, default "no variables", example "kv/data/web token | TOKEN";

    /// The containers that get the files, with commas between the names. Init containers can be among them.
    pub(crate) CONTAINERS = Containers, "containers": Names, AllPods,
        default "`runner` in a runner pod; `job` in a pod of ARC's kubernetes mode; else each container but `istio-proxy` and \
            `linkerd-proxy`",
        example "web, migrate";

    /// How often the sidecar reads the secrets again: `never`, or 5s to 24h.
    pub(crate) REFRESH = Refresh, "refresh": Word, AllPods, default "`never`", example "30s";

    /// What the sidecar does after files changed: one action in each line.
    pub(crate) ON_CHANGE = OnChange, "on-change": Lines, Refresh, default "nothing", example "touch:reload";

    /// What fails where the secrets cannot be delivered: the pod, or the job.
    pub(crate) ON_FAILURE = OnFailure, "on-failure": Word, AllPods, default "`fail-job` with job hooks, else `fail-pod`", example "fail-pod";

    /// Whether the runner's job hooks mask, export and clear the secrets.
    pub(crate) JOB_HOOKS = JobHooks, "job-hooks": Word, AllPods, default "`true` in a runner pod", example "false";

    /// Whether variables are exported. Without export, their values stay in files.
    pub(crate) EXPORT = Export, "export": Word, AllPods, default "`true`", example "false";

    /// How the variables of `podkey.dev/env` reach the containers.
    pub(crate) ENV_DELIVERY = EnvDelivery, "env-delivery": Word, AllPods, default "`auto`", example "kubelet";

    /// What the log of a job hides.
    pub(crate) MASK = Mask, "mask": Word, JobHooks, default "`smart`", example "lines";

    /// Secrets to deliver as environment variables, read by the job with the job's own identity.
    pub(crate) JOB_ENV = JobEnv, "job-env": Secrets, JobHooks, default "no variables", example "ci/data/{repository} token | TOKEN";

    /// Which jobs get secrets: YAML fields.
    pub(crate) JOB_POLICY = JobPolicy, "job-policy": Lines, JobHooks, default "every job but a fork's", example "repositories: [octo-org/*]";

    /// Whether the files are copied to where the container of a job sees them.
    pub(crate) JOB_TEMP = JobTemp, "job-temp": Word, JobHooks, default "`false`", example "true";

    /// Whether a path or version that does not exist is skipped with a warning.
    pub(crate) IGNORE_NOT_FOUND = IgnoreNotFound, "ignore-not-found": Word, AllPods, default "`false`", example "true";

    /// The plan of the job hooks, in a pod without `podkey-init`. podkey writes this annotation.
    pub(crate) PLAN = Plan, "plan": Word, Information, default "none", example "none";

    /// The version of podkey that injected the pod, and how variables reach its containers. podkey writes this annotation, and decides
    /// nothing by it.
    pub INJECTED = Injected, "injected": Word, Information, default "none", example "0.1.0";
}
