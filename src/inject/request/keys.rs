//! podkey's annotations: one row for each, with the key, the meaning and the parser. A new row makes an annotation known
//! everywhere: messages, suggestions and reference pages read this table.

use crate::inject::request::annotations::{self, AnnotationValue};
use crate::inject::request::{InjectionRequest, files, job_policy, refresh, variables};
use crate::inject::vocabulary::{DocumentedKey, Scope};
use crate::plan::{Mask, OnFailure, spelling};

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
    /// The key without [`PREFIX`].
    pub(super) name: &'static str,
    pub(super) shape: ValueShape,
    /// Parses the value, reports what is wrong with it, and keeps the result in the request. Runs for a value that is no text,
    /// too.
    pub(super) parse: fn(&mut AnnotationValue<'_>, &mut InjectionRequest),
}

/// How the value is written in YAML. Decides how a value that is no text is to be mended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueShape {
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
    ($($(#[doc = $meaning:literal])+ $visibility:vis $NAME:ident = $name:literal: $shape:ident, $scope:ident,
        default $default:literal, example $example:literal, $parse:expr;)+) => {
        $(
            $(#[doc = $meaning])+
            $visibility const $NAME: &str = concat!(prefix!(), $name);
        )+

        pub(crate) const ANNOTATIONS: &[Annotation] = &[$(Annotation {
            documented: DocumentedKey {
                key: $NAME,
                meaning: concat!($($meaning),+).trim_ascii(),
                default: $default,
                scope: Scope::$scope,
                example: $example,
            },
            name: $name,
            shape: ValueShape::$shape,
            parse: $parse,
        }),+];
    };
}

annotations! {
    /// Which of the operator's connections the pod uses.
    pub(crate) CONNECTION = "connection": Word, AllPods, default "`default`", example "default",
        |value, request| request.connection = value.word().map(str::to_owned);

    /// The Vault role to log in as.
    pub(crate) ROLE = "role": Word, AllPods, default "the role of the connection", example "web",
        |value, request| request.role = value.spelled(spelling::of_role);

    /// Where the auth method is mounted.
    pub(crate) AUTH_MOUNT = "auth-mount": Word, AllPods, default "the mount of the connection", example "my-cluster/runners",
        |value, request| request.auth_mount = value.spelled(spelling::of_mount).given();

    /// Secrets to deliver as files: a YAML list.
    pub(crate) FILES = "files": Secrets, AllPods, default "no files", example "- { secret: kv/data/web, file: web.json }",
        files::annotation;

    /// Secrets to deliver as environment variables, in the grammar of vault-action.
    pub(crate) ENV = "env": Secrets, AllPods, default "no variables", example "kv/data/web token | TOKEN",
        variables::env;

    /// The containers that get the files, with commas between the names. Init containers can be among them.
    pub(crate) CONTAINERS = "containers": Names, AllPods,
        default "`runner` in a runner pod; `job` in a pod of ARC's kubernetes mode; else each container but `istio-proxy` and \
            `linkerd-proxy`",
        example "web, migrate", annotations::containers;

    /// How often the sidecar reads the secrets again: `never`, or 5s to 24h.
    pub(crate) REFRESH = "refresh": Word, AllPods, default "`never`", example "30s",
        refresh::interval;

    /// What the sidecar does after files changed: one action in each line.
    pub(crate) ON_CHANGE = "on-change": Lines, Refresh, default "nothing", example "touch:reload",
        refresh::on_change;

    /// What fails where the secrets cannot be delivered: the pod, or the job.
    pub(crate) ON_FAILURE = "on-failure": Word, AllPods, default "`fail-job` with job hooks, else `fail-pod`", example "fail-pod",
        |value, request| request.on_failure = value.one_of(OnFailure::NAMES).given();

    /// Whether the runner's job hooks mask, export and clear the secrets.
    pub(crate) JOB_HOOKS = "job-hooks": Word, AllPods, default "`true` in a runner pod", example "false",
        |value, request| request.job_hooks = value.boolean();

    /// Whether variables are exported. Without export, their values stay in files.
    pub(crate) EXPORT = "export": Word, AllPods, default "`true`", example "false",
        |value, request| request.export = value.boolean();

    /// What the log of a job hides.
    pub(crate) MASK = "mask": Word, JobHooks, default "`smart`", example "lines",
        |value, request| request.mask = value.one_of(Mask::NAMES).given();

    /// Secrets to deliver as environment variables, read by the job with the job's own identity.
    pub(crate) JOB_ENV = "job-env": Secrets, JobHooks, default "no variables", example "ci/data/{repository} token | TOKEN",
        variables::job_env;

    /// Which jobs get secrets: YAML fields.
    pub(crate) JOB_POLICY = "job-policy": Lines, JobHooks, default "every job but a fork's", example "repositories: [octo-org/*]",
        |value, request| request.job_policy = value.parsed_by(job_policy::parse).flatten();

    /// Whether the files are copied to where the container of a job sees them.
    pub(crate) JOB_TEMP = "job-temp": Word, JobHooks, default "`false`", example "true",
        |value, request| request.job_temp = value.boolean().given().unwrap_or_default();

    /// Whether a path or version that does not exist is skipped with a warning.
    pub(crate) IGNORE_NOT_FOUND = "ignore-not-found": Word, AllPods, default "`false`", example "true",
        |value, request| request.ignore_not_found = value.boolean().given().unwrap_or_default();

    /// The version of podkey that injected the pod. podkey writes this annotation, and decides nothing by it.
    pub INJECTED = "injected": Word, Information, default "none", example "0.1.0",
        |_, _| ();
}
