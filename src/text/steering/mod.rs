//! Variables that steer programs: a shell, a loader, an interpreter, a build tool or the runner reads such a variable to decide
//! what to run, load, trust or connect to. A wildcard in `podkey.dev/env` takes the names of variables from the secret, so the writer of
//! the secret chooses the names. Such a name passes only if it steers no program. A list of single names is never complete for the
//! programs of a runner's image, so whole families of names are refused, by their beginnings and by their endings.
//!
//! Source of the names: the manuals of these programs. `tests` has hundreds of names that must be refused, and hundreds that must
//! pass. The file is long because of its tables.

use super::takes_over;
use super::variables::{self, GITHUB};

/// No variable with such a beginning passes, in upper or lower case. (Nor does a variable that begins like the names in
/// `variables`.)
#[rustfmt::skip]
const CLOSED: &[&str] = &[
    // The runner and its actions, shells.
    "AGENT_TOOLSDIRECTORY", "BASH", GITHUB, "INPUT_", "LC_",
    // Programs whose settings may have any name behind the beginning.
    "GIT_CONFIG", "NPM_LIFECYCLE_", "NPM_PACKAGE_", "PIP_", "PNPM_CONFIG_", "R_", "TF_CLI_",
    // AWS: all except the credentials, the region and names that its programs do not know.
    "AWS_CA_BUNDLE", "AWS_CLI_", "AWS_CONFIG_FILE", "AWS_CONTAINER_", "AWS_DATA_PATH", "AWS_DEFAULT_PROFILE",
    "AWS_EC2_METADATA_", "AWS_ENDPOINT_URL", "AWS_LAMBDA_EXEC_WRAPPER", "AWS_PAGER", "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// A variable with such a beginning, in upper or lower case, passes only if its name is one of [`USUAL`] or ends like one of
/// [`CREDENTIALS`].
#[rustfmt::skip]
const FAMILIES: &[&str] = &[
    // The state that the runner keeps for the post step of an action. The action's main step reads the state too: with
    // `STATE_isPost` the action checkout acts as its own post step, checks nothing out and removes the file that
    // `STATE_sshKeyPath` names.
    "STATE_",
    // Proxies, which programs read in both cases.
    "ALL_PROXY", "FTP_PROXY", "GRPC_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_GRPC_PROXY", "NO_PROXY", "RSYNC_PROXY",
    "SOCKS5_PROXY", "SOCKS_PROXY", "WSS_PROXY", "WS_PROXY",
    // libc and sanitizers.
    "ASAN_", "GCONV_", "GLIBC_", "LSAN_", "MALLOC_", "MSAN_", "MUSL_", "TSAN_", "UBSAN_",
    // TLS, names, networks.
    "CURL_", "GNUTLS_", "KRB5", "LDAPTLS_", "OPENSSL_", "SSL_CERT_DIR", "SSL_CERT_FILE", "SSH_", "SUDO_", "WGET",
    // Version control.
    "GH_", "GIT_", "HG", "BZR",
    // Make, compilers and related tools.
    "ACLOCAL", "AUTOCONF", "AUTOM4TE", "AUTOMAKE", "AR_", "BAZEL", "CCACHE_", "CC_", "CGO_", "CLANG_", "CMAKE_",
    "CONAN_", "CTEST_", "CXX_", "DISTCC_", "GCC_", "GCOV_", "GDB", "LIBTOOL", "LLVM_", "MAKECMD", "MAKEDEP",
    "MAKEFILE", "MAKEFLAGS", "MAKEINFO", "MAKELEVEL", "MAKEOVERRIDES", "MAKEPKG", "MAKEPROG", "MAKESHELL",
    "MAKE_COMMAND", "MAKE_HOST", "MAKE_RESTARTS", "MAKE_TERM", "MAKE_VERSION", "MESON", "NINJA_", "PKG_CONFIG",
    "QEMU_", "QMAKE", "SCCACHE_", "VALGRIND_", "VCPKG_", "EMCC_", "EMSDK", "SPACK_",
    // Rust, .NET, the JVM.
    "ANT_", "ASPNETCORE_", "CARGO", "CATALINA_", "COMPLUS_", "CORECLR_", "COREHOST_", "COURSIER_", "DIRECTORYBUILD",
    "DIRECTORYPACKAGES", "DOTNET_", "GRADLE_", "GROOVY_", "IVY_", "JAVA", "JDK_", "JRE_", "JVM_", "KOTLIN_", "LEIN_",
    "LOG4J_", "M2_", "MAVEN_", "MONO_", "MSBUILD", "MVNW_", "NUGET_", "RUST", "SBT_", "SCALA_", "SONAR_SCANNER_",
    "SPRING_APPLICATION_JSON", "SPRING_CONFIG_", "VSTEST_", "_JAVA_",
    // Properties of MSBuild, which reads them from the environment, in any case of their letters.
    "AFTERMICROSOFT", "ALTERNATECOMMONPROPS", "BEFOREMICROSOFT", "CUSTOMAFTER", "CUSTOMBEFORE", "DIRECTORYSOLUTION",
    "FORCEIMPORT", "LANGUAGETARGETS", "NUGETPROPS", "NUGETRESTORE", "NUGETTARGETS", "POSTBUILDEVENT", "PREBUILDEVENT",
    "PRELINKEVENT", "RESTORE", "RUNARGUMENTS", "RUNCOMMAND", "RUNWORKINGDIRECTORY",
    // JavaScript.
    "BUN_", "COREPACK_", "DENO_", "ELECTRON_", "NODE_", "NVM_", "PLAYWRIGHT_", "PNPM_", "PRISMA_", "PUPPETEER_",
    "TS_NODE_", "VOLTA_", "YARN_", "FNM_", "NODENV_",
    // Python.
    "CONDA_", "IPYTHON", "JUPYTER", "MAMBA_", "PDM_", "PIPENV_", "PIPX_", "POETRY_", "PYENV_", "PYTEST_", "PYTHON",
    "TOX_", "TWINE_", "UV_", "VIRTUALENVWRAPPER_", "VIRTUALENV_", "VIRTUAL_ENV", "PYSPARK_", "SPARK_",
    // Other languages.
    "BUNDLER_", "BUNDLE_", "CABAL_", "COMPOSER", "ERL_", "ELIXIR_", "GEM_", "GHCI", "GHCRTS", "GHCUP_", "GHC_",
    "GUILE_", "HARNESS_", "HEX_", "JRUBY_", "JULIA_", "LUA", "OCAML", "OPAM", "PERL", "PHP", "RBENV_", "REBAR", "RUBY",
    "RVM_", "SWIFTPM_", "TCL", "XDEBUG_", "CLJ_", "CRYSTAL_", "DART_", "FLUTTER_", "HADOOP_", "PLENV_", "ZIG_",
    // Containers, clusters, infrastructure.
    "ANSIBLE_", "BAO_", "BUILDAH_", "BUILDKIT_", "BUILDX_", "CLOUDSDK_", "COMPOSE_", "CONSUL_", "CONTAINERS_",
    "COSIGN_", "DOCKER_", "GCE_METADATA_", "HELMFILE_", "HELM_", "KREW_", "KUBECTL_", "KUBERNETES_SERVICE_",
    "KUSTOMIZE_", "NOMAD_", "PACKER_", "PODMAN_", "PULUMI_", "SIGSTORE_", "TERRAFORM_", "TERRAGRUNT_", "TFENV_", "TF_",
    "TGENV_", "TG_", "TOFUENV_", "TRIVY_", "TUF_", "VAGRANT_", "VAULT_", "_EXPERIMENTAL_DAGGER_",
    // The desktop's and the system's libraries, package managers, version managers.
    "APT_", "ASDF_", "DBUS_", "DEBCONF_", "DIRENV_", "DPKG_", "FAKECHROOT_", "FAKEROOT", "FZF_", "GDK_", "GIO_",
    "GST_", "GTK_", "HISTCHARS", "HISTCONTROL", "HISTFILE", "HISTIGNORE", "HISTSIZE", "HISTTIMEFORMAT", "HOMEBREW_",
    "LESSANSI", "LESSBIN", "LESSCHAR", "LESSCLOSE", "LESSECHO", "LESSEDIT", "LESSGLOBAL", "LESSHIST", "LESSKEY",
    "LESSMETA", "LESSOPEN", "LESSSECURE", "LESSSEPARATOR", "LESSUTF", "LESS_", "MAGICK_", "MISE_", "NIX_", "NVIM_",
    "QT_", "RSYNC_", "SDKMAN_", "SYSTEMD_", "TERMINFO", "VK_", "XDG_", "FONTCONFIG_", "RTX_", "STARSHIP_",
];

/// No variable with such an ending passes, in upper or lower case, unless the author gave the wildcard a prefix that ends with
/// `_`: no program knows such a name. (A name that is only the ending does not count.)
#[rustfmt::skip]
const ENDINGS: &[&str] = &[
    "FLAGS", "OPTIONS", "OPTS", "PATH", "TOOLEXE", "_ARGS", "_ASKPASS", "_BIN", "_BINARY_HOST", "_BROWSER", "_CACERT",
    "_CA_BUNDLE", "_CC", "_CDNURL", "_CERT_DIR", "_CMD", "_COMMAND", "_COMPILER", "_CONFIG_DIR", "_CONFIG_FILE",
    "_CXX", "_EDITOR", "_EMULATOR_HOST", "_FOR_BUILD", "_HOME", "_HOOKS", "_INDEX_URL", "_LAUNCHER", "_LINKER",
    "_MIRROR", "_PAGER", "_PLUGINS", "_PRELOAD", "_PROXY", "_RC", "_SHELL", "_STARTUP_HOOK", "_WRAPPER",
];

/// Single names, which programs read only in this case: a secret of `path **` may have a field `env` or `shell`. Known names with one of
/// [`ENDINGS`] are here too: an author's prefix that ends with `_` (`PKG_`, `C_`) must not complete such a name.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    // Shells.
    "CHILD_MAX", "COMP_WORDBREAKS", "DIRSTACK", "EXECIGNORE", "FCEDIT", "FIGNORE", "FPATH", "GLOBIGNORE", "HOSTFILE",
    "INPUTRC", "LOGNAME", "MAILPATH", "NULLCMD", "OLDPWD", "POSIXLY_CORRECT", "PS0", "PS3", "PSModulePath", "PWD",
    "READNULLCMD", "TIMEFORMAT", "TMOUT", "__PSLockdownPolicy",
    // The runner's own variable that other programs read.
    "CI",
    // A name in the family `STATE_` that ends like a credential: the post step of the action cache saves under this key.
    "STATE_CACHE_KEY",
    // libc, the terminal, systemd.
    "CREDENTIALS_DIRECTORY", "DISPLAY", "GETCONF_DIR", "HOSTALIASES", "LANG", "LANGUAGE", "LISTEN_FDNAMES",
    "LISTEN_FDS", "LISTEN_PID", "LOCALDOMAIN", "MEMUSAGE_OUTPUT", "NIS_PATH", "NOTIFY_SOCKET", "PCPROFILE_OUTPUT",
    "RESOLV_HOST_CONF", "RES_OPTIONS", "SASL_PATH", "TEMP", "TERM", "TERMCAP", "TMP", "TMPDIR", "TZ", "TZDIR",
    "XAUTHORITY",
    // Files of settings, with names that have no refused ending.
    "ACKRC", "BABELRC", "CONDARC", "CURLRC", "DIALOGRC", "GEMRC", "GVIMRC", "LYNXRC", "MATPLOTLIBRC", "NETRC", "NPMRC",
    "PRYRC", "PYLINTRC", "TASKRC", "TERMRC", "VIMRC", "YARNRC", "ZSHRC",
    // Pagers, editors, browsers, archivers and other small programs.
    "BAT_PAGER", "BROWSER", "BZIP", "BZIP2", "EMACSLOADPATH", "EXINIT", "GNUPGHOME", "GPG_AGENT_INFO", "GREP_OPTIONS",
    "GVIMINIT", "GZIP", "INFOPATH", "LESS", "LYNX_CFG", "MAILRC", "MANOPT", "MANPAGER", "MANPATH", "MANROFFOPT",
    "MANROFFSEQ", "MORE", "MYVIMRC", "PARALLEL", "RIPGREP_CONFIG_PATH", "SCREENDIR", "SCREENRC", "TAPE", "TAR_OPTIONS",
    "TMUX_TMPDIR", "UNZIP", "UNZIPOPT", "VIM", "VIMINIT", "VIMRUNTIME", "XZ_DEFAULTS", "XZ_OPT", "ZIPOPT",
    "ZSTD_CLEVEL",
    // TLS and clients of services.
    "ARM_METADATA_HOSTNAME", "BIGTABLE_EMULATOR_HOST", "DATASTORE_EMULATOR_HOST", "FIREBASE_AUTH_EMULATOR_HOST",
    "FIRESTORE_EMULATOR_HOST", "IDENTITY_ENDPOINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "PUBSUB_EMULATOR_HOST",
    "SPANNER_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "AZURE_AUTHORITY_HOST", "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CONFIG_DIR", "AZURE_EXTENSION_DIR", "BOTO_CONFIG", "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "LDAPCONF",
    "LDAPRC", "LIBMYSQL_PLUGINS", "LIBMYSQL_PLUGIN_DIR", "MYSQL_HOME", "MYSQL_TEST_LOGIN_FILE", "ODBCINI",
    "ODBCINSTINI", "ODBCSYSINI", "ORACLE_HOME", "PGOPTIONS", "PGSERVICEFILE", "PGSSLROOTCERT", "PGSYSCONFDIR",
    "PSQLRC", "PSQL_EDITOR", "PSQL_HISTORY", "PSQL_PAGER", "REDISCLI_RCFILE", "REQUESTS_CA_BUNDLE", "SQLPATH",
    "SSLKEYLOGFILE", "TNS_ADMIN",
    // Version control.
    "CVS_RSH", "CVSEDITOR", "CVSROOT", "CVS_SERVER", "P4CONFIG", "P4DIFF", "P4EDITOR", "P4MERGE", "P4PAGER", "P4PORT",
    "RSH", "SUDO_USER", "SVN_EDITOR", "SVN_MERGE", "SVN_SSH",
    // Compilers and the programs that makefiles name.
    "AR", "ARFLAGS", "AS", "ASFLAGS", "AWK", "BISON", "BISON_PKGDATADIR", "BUILD_AR", "BUILD_CC", "BUILD_CXX", "CC",
    "CCLD", "CFLAGS", "CL", "CO", "CTANGLE", "CUDACXX", "CUDAHOSTCXX", "CWEAVE", "COMPILER_PATH", "CONFIG_SHELL",
    "CONFIG_SITE", "CPATH", "CPLUS_INCLUDE_PATH", "CPP", "CPPFLAGS", "CROSS_COMPILE", "CXX", "CXXFLAGS",
    "C_INCLUDE_PATH", "DEBUGINFOD_URLS", "DEPENDENCIES_OUTPUT", "DESTDIR", "EGREP", "F77", "FC", "FCFLAGS", "FFLAGS",
    "FGREP", "FLEX", "GET", "GNUMAKEFLAGS", "GREP", "HIPCXX", "HIPHOSTCXX", "HOSTCC", "HOSTCXX", "HOST_AR", "HOST_CC",
    "HOST_CXX", "INSTALL", "INSTALL_DATA", "INSTALL_PROGRAM", "INSTALL_SCRIPT", "LD", "LDFLAGS", "LDLIBS", "LEX",
    "LFLAGS", "LIBCLANG_PATH", "LIBRARY_PATH", "LIBS", "LINT", "LN_S", "M2C", "M4PATH", "MAKE", "MFLAGS", "MKDIR_P",
    "MPICH_CC", "MPICH_CXX", "NM", "NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS", "OBJC", "OBJCXX", "OMPI_CC", "OMPI_CXX",
    "PC", "RM", "TANGLE", "TARGET_AR", "TARGET_CC", "TARGET_CXX", "TEX", "TEXI2DVI", "WEAVE", "OBJCOPY",
    "OBJC_INCLUDE_PATH", "OBJDUMP", "PREFIX", "PROTOC", "RANLIB", "READELF", "SCONSFLAGS", "SDKROOT", "SED", "STRIP",
    "SUNPRO_DEPENDENCIES", "SWIFT_EXEC", "YACC", "YFLAGS", "_CL_",
    // Go.
    "GCCGO", "GO111MODULE", "GOARCH", "GOAUTH", "GOBIN", "GOCACHE", "GOCACHEPROG", "GOCOVERDIR", "GODEBUG", "GOENV",
    "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOINSECURE", "GOMODCACHE", "GONOPROXY", "GONOSUMCHECK", "GONOSUMDB",
    "GOOS", "GOPATH", "GOPRIVATE", "GOPROXY", "GOROOT", "GOSUMDB", "GOTMPDIR", "GOTOOLCHAIN", "GOTOOLDIR", "GOVCS",
    "GOWORK", "GO_EXTLINK_ENABLED", "GOGC", "GOMEMLIMIT", "GOTELEMETRY", "GOTRACEBACK",
    // Interpreters and frameworks.
    "CELERY_CONFIG_MODULE", "CHROME_BIN", "CHROME_PATH", "CHROMIUM_BIN", "CLASSPATH", "FIREFOX_BIN", "MVN_CMD",
    "SENTRYCLI_CDNURL", "COVERAGE_PROCESS_START", "COVERAGE_RCFILE", "CYPRESS_INSTALL_BINARY", "CYPRESS_RUN_BINARY",
    "DJANGO_SETTINGS_MODULE", "FACTERLIB", "FLASK_APP", "GI_TYPELIB_PATH", "GUNICORN_CMD_ARGS", "IRBRC",
    "LOGGING_CONFIG", "MIX_ARCHIVES", "MIX_EXS", "MIX_HOME", "MIX_PATH", "MYPYPATH", "NPM_EXECPATH",
    "NPM_NODE_EXECPATH", "PUB_CACHE", "PUB_HOSTED_URL", "RAKEOPT", "SASS_BINARY_PATH", "SASS_BINARY_SITE", "SPEC_OPTS",
    "STACK_CONFIG", "STACK_ROOT", "STACK_YAML", "TEXINPUTS", "TEXMFCNF", "TK_LIBRARY", "TURBO_API",
    "TURBO_BINARY_PATH", "npm_execpath", "npm_node_execpath",
    // Containers and clusters.
    "ANDROID_HOME", "ANDROID_NDK_ROOT", "ANDROID_SDK_ROOT", "ARGOCD_OPTS", "CONTAINER_HOST", "CONTAINER_SSHKEY",
    "DEVELOPER_DIR", "KUBECACHEDIR", "KUBECONFIG", "KUBERC", "KUBERNETES_EXEC_INFO", "KUBERNETES_MASTER",
    "KUBE_CONFIG_PATH", "KUBE_CONFIG_PATHS", "KUBE_EDITOR", "REGISTRY_AUTH_FILE", "STORAGE_DRIVER", "STORAGE_OPTS",
];

/// Endings of names of credentials. Members of [`FAMILIES`] with such an ending pass (`CARGO_REGISTRY_TOKEN`, `DOCKER_PASSWORD`):
/// a program logs in with the credential, and runs or loads nothing because of it. Credentials in base64 pass too
/// (`SSH_PRIVATE_KEY_BASE64`).
#[rustfmt::skip]
const CREDENTIALS: &[&str] = &[
    "_ID", "_KEY", "_KEYSTORE_B64", "_KEYSTORE_BASE64", "_PASS", "_PASSPHRASE", "_PASSWD", "_PASSWORD", "_PAT", "_PWD",
    "_SECRET", "_TOKEN", "_USER", "_USERNAME",
];

/// Endings that may follow the ending of a credential: the credential is in base64.
const BASE64: [&str; 2] = ["_B64", "_BASE64"];

/// Usual names of fields in secrets that are in [`FAMILIES`] or end with one of [`ENDINGS`]: no program runs, loads or connects to
/// anything by these names.
#[rustfmt::skip]
const USUAL: &[&str] = &[
    "ASPNETCORE_ENVIRONMENT", "COMPOSER_AUTH", "DOCKER_EMAIL", "DOCKER_IMAGE", "DOCKER_LOGIN", "DOCKER_ORG",
    "DOCKER_REGISTRY", "DOCKER_REPO", "DOCKER_REPOSITORY", "DOCKER_SERVER", "DOTNET_ENVIRONMENT", "EMAIL_CC",
    "FEATURE_FLAGS", "GIT_EMAIL", "GIT_URL", "MAIL_CC", "NODE_ENV", "SSH_HOST", "SSH_KNOWN_HOSTS", "SSH_PORT",
    "STATE_BUCKET",
];

/// Beginnings in [`FAMILIES`] with a rest that the author of a build chooses: inputs of modules, and tokens by host or index.
#[rustfmt::skip]
const INPUTS: &[&str] = &["POETRY_PYPI_TOKEN_", "TF_TOKEN_", "TF_VAR_"];

/// The tables for people: what each says of a name, and the table. The names are in the order in which `steers` asks.
pub const WILDCARD_RULES: [(&str, &[&str]); 7] = [
    ("Refused: these names", NAMES),
    (
        "Refused, in upper and lower case: `AWS_*_ENDPOINT`, `AWS_*_ENDPOINT_URL`, and names that begin with",
        CLOSED,
    ),
    ("Pass, in upper and lower case: names that begin with", INPUTS),
    ("Pass, in upper and lower case: these names", USUAL),
    (
        "Refused, in upper and lower case, unless the wildcard has a prefix that ends with `_`: names that end with",
        ENDINGS,
    ),
    (
        "Refused, in upper and lower case, unless the name ends like a credential: names that begin with",
        FAMILIES,
    ),
    (
        "Endings of credentials, also with `_B64` or `_BASE64` behind them",
        CREDENTIALS,
    ),
];

/// Whether a variable that a wildcard would set steers programs. `prefix` is the beginning of `name` that the author chose; the
/// writer of the secret chose the rest.
pub(crate) fn steers(name: &str, prefix: &str) -> bool {
    if takes_over(name).is_some() || NAMES.contains(&name) {
        return true;
    }
    let name = name.to_ascii_uppercase();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    if variables::begins_reserved(&name) || begins(CLOSED) || is_endpoint_of_aws(&name) {
        return true;
    }
    if begins(INPUTS) || USUAL.contains(&name.as_str()) {
        return false;
    }
    if ends_like(&name, ENDINGS) && !prefix.ends_with('_') {
        return true;
    }
    begins(FAMILIES) && !is_credential(&name)
}

fn ends_like(name: &str, endings: &[&str]) -> bool {
    let mut endings = endings.iter();
    endings.any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

fn is_credential(name: &str) -> bool {
    let decoded = BASE64.iter().find_map(|ending| name.strip_suffix(ending));
    ends_like(name, CREDENTIALS) || decoded.is_some_and(|name| ends_like(name, CREDENTIALS))
}

/// Whether the programs of AWS send signed requests to the address in the variable. (`S3_ENDPOINT` is a name of applications, not
/// of AWS.)
fn is_endpoint_of_aws(name: &str) -> bool {
    name.starts_with("AWS_") && (name.ends_with("_ENDPOINT") || name.ends_with("_ENDPOINT_URL"))
}

#[cfg(test)]
mod tests;
