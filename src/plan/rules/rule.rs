//! The names of the rules, and of the parts of a plan that can break a rule.

use std::fmt;

#[cfg(doc)]
use crate::plan::LINKS_ROOT;
#[cfg(doc)]
use crate::plan::{ApiPath, Destination, OnChange, Plan};
use crate::plan::{ENV_DIR, MAX_ENV_SECRETS, MAX_FILES, MAX_ON_CHANGE, MAX_TEMPLATE_REQUESTS};

/// A broken rule, with the part of the plan that breaks the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) subject: Subject,
    pub(crate) rule: Rule,
}

/// The part of a plan, or of a request, that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The plan as a whole.
    Plan,
    /// The server's address.
    Connection,
    /// The login of `init`.
    Login,
    /// The login of the job.
    JobLogin,
    /// The file at this position: as in [`Plan::destinations`].
    File(usize),
    /// A request of a file: the position of the file as in [`Self::File`], and the number of the request. (Only a template has more
    /// than one.)
    Request {
        /// The position of the file.
        file: usize,
        /// The number of the request in the file, from 0.
        number: usize,
    },
    /// All secrets that templates name.
    Templates,
    /// All variables that `init` reads (`podkey.dev/env`).
    Env,
    /// The entry at this position of the variables that `init` reads.
    EnvEntry(usize),
    /// All variables that the job reads (`podkey.dev/job-env`).
    JobEnv,
    /// The entry at this position of the variables that the job reads.
    JobEnvEntry(usize),
    /// Commands of containers that start with the variables.
    Exec,
    /// Variables that the kubelet sets.
    KubeletEnv,
    /// Whether the job's variables are exported.
    Export,
    /// The copy at this position of the copies for jobs in a container.
    Copy(usize),
    /// The interval of the sidecar.
    Refresh,
    /// All actions after a change.
    OnChange,
    /// The action at this position.
    Action(usize),
}

impl Subject {
    pub(super) fn breaks(self, rule: Rule) -> Violation {
        Violation { subject: self, rule }
    }
}

/// A rule. The name is the problem, or the condition that is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The path answers with a client token, see [`ApiPath::holds_tokens`].
    SecretHoldsTokens,
    /// Each job would write the path; only `init` and the sidecar write.
    DataForJob,
    /// `data` is for secrets engines, see [`ApiPath::is_the_servers_own`].
    DataForServer,
    /// The answer to the write is no secret, see [`ApiPath::changes_its_engine`].
    DataChangesEngine,
    /// A version belongs to a secret that is read, and `data` makes the request a write.
    DataWithVersion,
    /// `{{ .SecretKey }}` makes a file for each field, but a key chooses one field.
    EachFieldWithKey,
    /// `{{ .SecretKey }}` makes a file for each field, but `keys` puts several fields into one file.
    EachFieldWithKeys,
    /// `{{ .SecretKey }}` makes a file for each field of one secret, and a template makes one file of any secrets.
    EachFieldWithTemplate,
    /// A file for each field has the field's bytes and no other format.
    EachFieldWithFormat,
    /// The started hook writes only files whose names are known when the pod is made.
    EachFieldForJob,
    /// The format `raw` holds one field.
    RawNeedsKey,
    /// One field is decoded, never a whole secret.
    DecodeNeedsKey,
    /// A name of `keys` is not the name of a variable, and the format writes variables.
    NotAVariable {
        /// The position of the name.
        key: usize,
    },
    /// Two files have one destination.
    SameDestination {
        /// The position of the earlier file.
        other: usize,
    },
    /// A file would be where a directory of the other file is.
    OverlappingDestination {
        /// The position of the earlier file.
        other: usize,
    },
    /// The file would be in, or in place of, the directory [`ENV_DIR`], and there are variables.
    InVariablesDirectory,
    /// Without refresh a secret is read once, so podkey never notices that the secret is gone.
    WhenGoneNeedsRefresh,
    /// Without refresh the files never change.
    OnChangeNeedsRefresh,
    /// `init` delivers nothing, so there is nothing to keep fresh.
    NothingToRefresh,
    /// The sidecar would write files that the job policy has refused to the job.
    PolicyWithRefresh,
    /// With refresh only the sidecar writes files. Variables of the job that are not exported are files.
    VariableFilesWithRefresh,
    /// With refresh only the sidecar writes files. The started hook writes this file.
    JobFileWithRefresh,
    /// A file with an absolute destination is a separate mount, which shows its first content for ever.
    MountWithRefresh,
    /// The name is reserved for podkey, see [`Destination::is_reserved`].
    ReservedWithRefresh,
    /// More than [`MAX_ON_CHANGE`] actions.
    TooManyActions(usize),
    /// A restart ends the containers that another action would inform.
    RestartNotAlone,
    /// A restart of the runner would end its job.
    RestartWithHooks,
    /// A change replaces the touched file, see [`OnChange::replaced`].
    TouchedIsReplaced,
    /// The touched file is in a directory of its own that holds no file, so nothing is mounted there.
    TouchedNowhere,
    /// Job hooks clear files in [`crate::plan::SECRETS_DIR`] and files with a mount, and no directory with a mount.
    DirectoryWithHooks,
    /// The file of the client token is in a directory of its own, and no name of podkey's.
    TokenFilePlace,
    /// Without `podkey-init` the job reads all secrets and no sidecar runs; the agent comes with its image; and a file with an absolute
    /// destination is below [`LINKS_ROOT`].
    NeedsInit,
    /// No file and no variable.
    NothingToDeliver,
    /// More than [`MAX_FILES`] files.
    TooManyFiles(usize),
    /// More than [`MAX_TEMPLATE_REQUESTS`] secrets in all templates.
    TooManyRequests(usize),
    /// More than [`MAX_ENV_SECRETS`] entries of one kind.
    TooManyVariables(usize),
    /// Commands start with variables only where `init` reads variables and no job hook exports them.
    NothingToStart,
    /// The kubelet sets variables only where `init` reads variables and no job hook exports them.
    NothingForKubelet,
    /// The kubelet needs the name of each variable before the pod starts, and this entry makes variables of all fields.
    NamesUnknownToKubelet,
    /// The kubelet cannot read a variable of this name from a file.
    NameNotForKubelet,
    /// The plan does not deliver the file of this copy.
    CopyOfNoFile,
    /// `init` reads secrets or delivers the client token, and has no login.
    InitNeedsLogin,
    /// The job reads, and has no login.
    JobNeedsLogin,
    /// The address is plain http, and the operator did not allow that.
    InsecureHttp,
}

impl fmt::Display for Rule {
    /// The problem, for the agent's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretHoldsTokens => "the path is about tokens, not about a secret",
            Self::DataForJob => "the job reads the file, and only init and the sidecar write data",
            Self::DataForServer => "the path is the server's own, and data goes to secrets engines only",
            Self::DataChangesEngine => "a write to the path changes the engine, and the answer holds no secret",
            Self::DataWithVersion => "a version is for a secret that is read, and data makes the request a write",
            Self::EachFieldWithKey => "one file for each field takes no key",
            Self::EachFieldWithKeys => "one file for each field takes no keys",
            Self::EachFieldWithTemplate => "one file for each field takes no template",
            Self::EachFieldWithFormat => "one file for each field is always raw",
            Self::EachFieldForJob => "the job cannot read one file for each field",
            Self::RawNeedsKey => "the format raw needs a key",
            Self::DecodeNeedsKey => "decode needs a key",
            Self::NotAVariable { .. } => "a name of keys is not the name of a variable",
            Self::SameDestination { .. } => "another file has the same destination",
            Self::OverlappingDestination { .. } => "another file's destination is above or below this destination",
            Self::InVariablesDirectory => {
                return write!(f, "the directory {ENV_DIR} is kept for the values of variables");
            }
            Self::WhenGoneNeedsRefresh => "when-gone needs refresh, without which a secret is read only once",
            Self::OnChangeNeedsRefresh => "on-change needs refresh, without which the files never change",
            Self::NothingToRefresh => "init delivers nothing that the sidecar could keep fresh",
            Self::PolicyWithRefresh => "the sidecar would write again what the job policy refuses",
            Self::VariableFilesWithRefresh => {
                "only the sidecar may write files, and the job's variables are files where they are not exported"
            }
            Self::JobFileWithRefresh => "only the sidecar may write files, and the job reads this file",
            Self::MountWithRefresh => "the file is mounted on its own, and refresh cannot replace such a file",
            Self::ReservedWithRefresh => "podkey keeps this name for itself",
            Self::TooManyActions(count) => return write!(f, "{count} actions, at most {MAX_ON_CHANGE} are allowed"),
            Self::RestartNotAlone => "a restart is the only action, because it ends the containers that others inform",
            Self::RestartWithHooks => "a restart would end the job of the runner",
            Self::TouchedIsReplaced => "each change replaces the touched file, because podkey writes files there",
            Self::TouchedNowhere => "the touched file is in a directory that has no file of the plan",
            Self::DirectoryWithHooks => "job hooks clear no file in a directory of its own",
            Self::TokenFilePlace => "the client token needs a directory of its own, and a name that is not podkey's",
            Self::NeedsInit => "the job hooks cannot do this work alone, and the plan has no podkey-init",
            Self::NothingToDeliver => "no file and no variable to deliver",
            Self::TooManyFiles(count) => return write!(f, "{count} files, at most {MAX_FILES} are allowed"),
            Self::TooManyRequests(count) => {
                return write!(
                    f,
                    "templates name {count} secrets, at most {MAX_TEMPLATE_REQUESTS} are allowed"
                );
            }
            Self::TooManyVariables(count) => {
                return write!(f, "{count} entries of one kind, at most {MAX_ENV_SECRETS} are allowed");
            }
            Self::NothingToStart => "commands start with variables only if init reads variables and no job hook runs",
            Self::NothingForKubelet => "the kubelet sets variables only if init reads variables and no job hook runs",
            Self::NamesUnknownToKubelet => {
                "the kubelet needs names of variables, and the entry makes variables of all fields"
            }
            Self::NameNotForKubelet => "the kubelet cannot read a variable of this name from a file",
            Self::CopyOfNoFile => "the plan delivers no such file",
            Self::InitNeedsLogin => "init reads secrets or delivers the client token, and has no login",
            Self::JobNeedsLogin => "the job reads secrets, and has no login",
            Self::InsecureHttp => "the address is http://, and allowInsecureHttp is not set",
        })
    }
}
