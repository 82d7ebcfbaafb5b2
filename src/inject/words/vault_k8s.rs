//! The two prefixes of vault-k8s' annotations, and the names that its injector gives to containers.

/// Who defined a prefix. Both families have the same keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// vault-k8s itself.
    Hashicorp,
    /// openbao-k8s, which reads the keys of vault-k8s too. Where a pod has both keys, openbao-k8s takes its own.
    Openbao,
}

impl Family {
    /// The weaker family first.
    pub(crate) const ALL: [Self; 2] = [Self::Hashicorp, Self::Openbao];

    /// What the keys begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Hashicorp => "vault.hashicorp.com/",
            Self::Openbao => "openbao.org/",
        }
    }

    /// The key as an author writes it.
    pub(crate) fn key(self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }
}

/// The key that asks for the injection.
pub(crate) const INJECT: &str = "agent-inject";
/// The key that asks for the client token as a file.
pub(crate) const INJECT_TOKEN: &str = "agent-inject-token";
/// The key by which the injectors mark a pod that they have injected.
pub(crate) const STATUS: &str = "agent-inject-status";
/// The value of [`STATUS`].
pub(crate) const INJECTED: &str = "injected";

/// The containers that the injectors of HashiCorp and of OpenBao add.
pub(crate) const THEIR_CONTAINERS: [&str; 4] =
    ["vault-agent-init", "vault-agent", "openbao-agent-init", "openbao-agent"];
