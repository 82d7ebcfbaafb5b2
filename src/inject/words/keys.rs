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
        default $default:literal, example $example:literal $(, value $value:literal)? $(, details $details:literal)?;)+) => {
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
                value: concat!($($value)?),
                details: concat!($($details)?),
            },
            key: AnnotationKey::$Key,
            name: $name,
            shape: ValueShape::$shape,
        }),+];
    };
}

annotations! {
    /// Which of the operator's connections the pod uses.
    pub(crate) CONNECTION = Connection, "connection": Word, AllPods, default "`default`", example "default",
            value "the name of a connection in the operator's config";

    /// The Vault role to log in as.
    pub(crate) ROLE = Role, "role": Word, AllPods, default "the role of the connection", example "web",
            value "the name of a role";

    /// Where the auth method is mounted.
    pub(crate) AUTH_MOUNT = AuthMount, "auth-mount": Word, AllPods, default "the mount of the connection", example "my-cluster/runners",
            value "the path of the mount",
            details "An ARC cluster often has a mount of its own, such as `my-cluster/runners`.";

    /// Secrets to deliver as files: a YAML list.
    pub(crate) FILES = Files, "files": Secrets, AllPods, default "no files", example "- { secret: kv/data/web, file: web.json }",
            value "a YAML list of entries; the fields of an entry are below `files.`",
            details "A pod that asks for podkey has `podkey.dev/files`, `podkey.dev/env` or `podkey.dev/job-env`. All entries together have at most 64 KiB.";

    /// Secrets to deliver as environment variables, in the grammar of vault-action.
    pub(crate) ENV = Env, "env": Secrets, AllPods, default "no variables", example "kv/data/web token | TOKEN",
            value "lines of `PATH KEY | NAME`, with `;` between two of them; `PATH * | PREFIX_` takes every field",
            details "With `*` the names come from the secret, so whoever writes the secret chooses them: stricter rules hold for such names (`podkey explain wildcard-variables`).";

    /// The containers that get the files, with commas between the names. Init containers can be among them.
    pub(crate) CONTAINERS = Containers, "containers": Names, AllPods,
        default "`runner` in a runner pod; `job` in a pod of ARC's kubernetes mode; else each container but `istio-proxy` and \
            `linkerd-proxy`",
        example "web, migrate",
            value "names of containers, with commas between them",
            details "Containers that are not named get no files.";

    /// How often the sidecar reads the secrets again: `never`, or 5s to 24h.
    pub(crate) REFRESH = Refresh, "refresh": Word, AllPods, default "`never`", example "30s",
            value "`never`, or a duration from `5s` to `24h`",
            details "The sidecar also renews leases, and revokes its client token when the pod ends. podkey refuses beside `refresh`: an absolute `file`, `as: job`, a job policy, and `podkey.dev/job-env` with `export: \"false\"`.";

    /// What the sidecar does after files changed: one action in each line.
    pub(crate) ON_CHANGE = OnChange, "on-change": Lines, Refresh, default "nothing", example "touch:reload",
            details "Up to eight actions, without a shell, each tried five times in about half a minute. `signal` needs `shareProcessNamespace: true`, the operator's `allowSharedProcessNamespace`, and one declared user that is not root. `restart` stands alone; it needs Kubernetes 1.36, and podkey refuses it with job hooks, and where a container has another `restartPolicy` than `Always`.";

    /// What fails where the secrets cannot be delivered: the pod, or the job.
    pub(crate) ON_FAILURE = OnFailure, "on-failure": Word, AllPods, default "`fail-job` with job hooks, else `fail-pod`", example "fail-pod",
            details "If podkey-init fails in a runner pod, ARC up to 0.13.0 hangs. Later versions delete the pod and make a new one, for ever. ARC shows no reason. So podkey warns of `fail-pod` in a runner pod.";

    /// Whether the runner's job hooks mask, export and clear the secrets.
    pub(crate) JOB_HOOKS = JobHooks, "job-hooks": Word, AllPods, default "`true` in a runner pod", example "false",
            details "A hook of your own in `ACTIONS_RUNNER_HOOK_JOB_STARTED` runs after podkey's, and its exit code counts.";

    /// Whether variables are exported. Without export, their values stay in files.
    pub(crate) EXPORT = Export, "export": Word, AllPods, default "`true`", example "false",
            details "The files are `/podkey/secrets/env/NAME`.";

    /// How the variables of `podkey.dev/env` reach the containers.
    pub(crate) ENV_DELIVERY = EnvDelivery, "env-delivery": Word, AllPods, default "`auto`", example "exec",
            details "`hooks` needs job hooks. `exec` needs a container that names its `command`. `kubelet` needs Kubernetes 1.35, and the node keeps the values on its disk while the container exists. Where podkey finds no way for a container, podkey refuses the pod.";

    /// What the log of a job hides.
    pub(crate) MASK = Mask, "mask": Word, JobHooks, default "`smart`", example "lines",
            details "`smart` also masks base64, hex and other spellings of a value. A warning counts the texts that are too short or too common to mask.";

    /// Secrets to deliver as environment variables, read by the job with the job's own identity.
    pub(crate) JOB_ENV = JobEnv, "job-env": Secrets, JobHooks, default "no variables", example "ci/data/{repository} token | TOKEN",
            value "as `podkey.dev/env`; a path may have placeholders, such as `{repository}`",
            details "The operator's connection needs `job.role`, and the workflow `permissions: id-token: write`. Placeholders: `{repository}`, `{repository_id}`, `{owner}`, `{owner_id}`, `{ref_name}`, `{job}`, `{environment}`; each fills one segment of the path.";

    /// Which jobs get secrets: YAML fields.
    pub(crate) JOB_POLICY = JobPolicy, "job-policy": Lines, JobHooks, default "every job but a fork's", example "repositories: [octo-org/*]",
            value "YAML fields; they are below `job-policy.`",
            details "The policy of the pod and the connection's `job.policy` must both allow the job, in every field that is there. Without a policy, a job of a fork's pull request gets no secret.";

    /// Whether the files are copied to where the container of a job sees them.
    pub(crate) JOB_TEMP = JobTemp, "job-temp": Word, JobHooks, default "`false`", example "true",
            details "The copies are in `RUNNER_TEMP`, and do not change with `refresh`. `env` of a file then names the path of the copy, which is right inside and outside of the container.";

    /// Whether a path or version that does not exist is skipped with a warning.
    pub(crate) IGNORE_NOT_FOUND = IgnoreNotFound, "ignore-not-found": Word, AllPods, default "`false`", example "true",
            details "Other failures, such as a denied read, still count.";

    /// The plan of the job hooks, in a pod without `podkey-init`. podkey writes this annotation.
    pub(crate) PLAN = Plan, "plan": Word, Information, default "none", example "none";

    /// The version of podkey that injected the pod, and how variables reach its containers. podkey writes this annotation, and decides
    /// nothing by it.
    pub INJECTED = Injected, "injected": Word, Information, default "none", example "0.2.0";
}
