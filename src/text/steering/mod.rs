//! Which variables steer programs: which names tell a shell, a loader, an interpreter, a build tool or the runner what to run,
//! load, trust or connect to. A wildcard in `podkey.dev/env` takes the names from the secret, so whoever may write the secret
//! chooses them: of such names only those pass that no program takes orders from. A list of single names cannot keep up with
//! the programs of a runner's image, so whole families are refused, by their beginnings and by their endings.
//!
//! The names are from the manuals of these programs; `tests` below has hundreds of them, and names that must pass.

use super::takes_over;

/// No variable that begins like this passes, in upper or lower case.
#[rustfmt::skip]
const CLOSED: &[&str] = &[
    // The runner and its actions, podkey itself, shells and the loader.
    "ACTIONS_", "AGENT_TOOLSDIRECTORY", "BASH", "DYLD_", "GITHUB_", "INPUT_", "LC_", "LD_", "PODKEY_", "RUNNER_",
    "STATE_",
    // Settings that are named freely: any ending may be a setting's.
    "GIT_CONFIG", "NPM_CONFIG_", "NPM_LIFECYCLE_", "NPM_PACKAGE_", "PIP_", "PNPM_CONFIG_", "R_", "TF_CLI_",
    // AWS: all but the credentials, the region and what the programs do not know.
    "AWS_CA_BUNDLE", "AWS_CLI_", "AWS_CONFIG_FILE", "AWS_CONTAINER_", "AWS_DATA_PATH", "AWS_DEFAULT_PROFILE",
    "AWS_EC2_METADATA_", "AWS_ENDPOINT_URL", "AWS_LAMBDA_EXEC_WRAPPER", "AWS_PAGER", "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    // Proxies, which programs read in both cases.
    "ALL_PROXY", "FTP_PROXY", "GRPC_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_GRPC_PROXY", "NO_PROXY", "RSYNC_PROXY",
    "SOCKS5_PROXY", "SOCKS_PROXY", "WSS_PROXY", "WS_PROXY",
];

/// Variables that begin like this pass only as [`CREDENTIALS`] or as a [`USUAL`] name. Upper and lower case.
#[rustfmt::skip]
const FAMILIES: &[&str] = &[
    // libc and sanitizers.
    "ASAN_", "GCONV_", "GLIBC_", "LSAN_", "MALLOC_", "MSAN_", "MUSL_", "TSAN_", "UBSAN_",
    // TLS, names, networks.
    "CURL_", "GNUTLS_", "KRB5", "LDAPTLS_", "OPENSSL_", "SSL_CERT_DIR", "SSL_CERT_FILE", "SSH_", "SUDO_", "WGET",
    // Version control.
    "GH_", "GIT_", "HG", "BZR",
    // Make, compilers and what is around them.
    "ACLOCAL", "AUTOCONF", "AUTOM4TE", "AUTOMAKE", "BAZEL", "CCACHE_", "CGO_", "CLANG_", "CMAKE_", "CONAN_", "CTEST_",
    "CUSTOMAFTER", "CUSTOMBEFORE", "DISTCC_", "GCC_", "GCOV_", "GDB", "LIBTOOL", "LLVM_", "MAKE", "MESON", "NINJA_",
    "PKG_CONFIG", "QEMU_", "QMAKE", "SCCACHE_", "VALGRIND_", "VCPKG_", "EMCC_", "EMSDK", "SPACK_",
    // Rust, .NET, the JVM.
    "ANT_", "ASPNETCORE_", "CARGO", "CATALINA_", "COMPLUS_", "CORECLR_", "COREHOST_", "COURSIER_", "DIRECTORYBUILD",
    "DIRECTORYPACKAGES", "DOTNET_", "GRADLE_", "GROOVY_", "IVY_", "JAVA", "JDK_", "JRE_", "JVM_", "KOTLIN_", "LEIN_",
    "LOG4J_", "M2_", "MAVEN_", "MONO_", "MSBUILD", "MVNW_", "NUGET_", "RUST", "SBT_", "SCALA_", "SONAR_SCANNER_",
    "SPRING_APPLICATION_JSON", "SPRING_CONFIG_", "VSTEST_", "_JAVA_",
    // JavaScript.
    "BUN_", "COREPACK_", "DENO_", "ELECTRON_", "NODE_", "NVM_", "PLAYWRIGHT_", "PNPM_", "PRISMA_", "PUPPETEER_",
    "TS_NODE_", "VOLTA_", "YARN_", "FNM_", "NODENV_",
    // Python.
    "CONDA_", "IPYTHON", "JUPYTER", "MAMBA_", "PDM_", "PIPENV_", "PIPX_", "POETRY_", "PYENV_", "PYTEST_", "PYTHON",
    "TOX_", "TWINE_", "UV_", "VIRTUALENV_", "VIRTUAL_ENV", "PYSPARK_", "SPARK_",
    // Other languages.
    "BUNDLER_", "BUNDLE_", "CABAL_", "COMPOSER", "ERL_", "ELIXIR_", "GEM_", "GHC", "GUILE_", "HEX_", "JRUBY_",
    "JULIA_", "LUA", "OCAML", "OPAM", "PERL", "PHP", "RBENV_", "REBAR", "RUBY", "RVM_", "SWIFTPM_", "TCL",
    "XDEBUG_", "CLJ_", "CRYSTAL_", "DART_", "FLUTTER_", "HADOOP_", "PLENV_", "ZIG_",
    // Containers, clusters, infrastructure.
    "ANSIBLE_", "BAO_", "BUILDAH_", "BUILDKIT_", "BUILDX_", "CLOUDSDK_", "COMPOSE_", "CONSUL_", "CONTAINERS_",
    "COSIGN_", "DOCKER_", "GCE_METADATA_", "HELMFILE_", "HELM_", "KREW_", "KUBECTL_", "KUBERNETES_SERVICE_",
    "KUSTOMIZE_", "NOMAD_", "PACKER_", "PODMAN_", "PULUMI_", "SIGSTORE_", "TERRAFORM_", "TERRAGRUNT_", "TF_", "TG_",
    "TRIVY_", "TUF_", "VAGRANT_", "VAULT_",
    // The desktop's and the system's libraries, package managers, version managers.
    "APT_", "ASDF_", "DBUS_", "DEBCONF_", "DIRENV_", "DPKG_", "FAKECHROOT_", "FAKEROOT", "FZF_", "GDK_", "GIO_",
    "GST_", "GTK_", "HIST", "HOMEBREW_", "LESS", "MAGICK_", "MISE_", "NIX_", "NVIM_", "QT_", "RSYNC_", "SDKMAN_",
    "SYSTEMD_", "TERMINFO", "VK_", "XDG_", "FONTCONFIG_", "RTX_", "STARSHIP_",
];

/// No variable that ends like this passes, unless the wildcard has a prefix of the author's own that ends with `_`: then no
/// program knows it. Upper and lower case; the ending alone is none of these.
#[rustfmt::skip]
const ENDINGS: &[&str] = &[
    "FLAGS", "OPTIONS", "OPTS", "PATH", "RC", "TOOLEXE", "_ARGS", "_ASKPASS", "_BINARY_HOST", "_BROWSER", "_CACERT",
    "_CA_BUNDLE", "_CERT_DIR", "_COMMAND", "_COMPILER", "_CONFIG_DIR", "_CONFIG_FILE", "_EDITOR", "_HOME", "_HOOKS",
    "_INDEX_URL", "_LAUNCHER", "_LINKER", "_MIRROR", "_PAGER", "_PLUGINS", "_PRELOAD", "_PROXY", "_SHELL",
    "_STARTUP_HOOK", "_WRAPPER",
];

/// Single names, read in this case alone: `path **` may well bring a field `env` or `shell`. The known members of the families by
/// ending are here too: with a prefix that ends with `_` (`PKG_`, `C_`) they must not come about either.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    // Shells.
    "CHILD_MAX", "COMP_WORDBREAKS", "DIRSTACK", "EXECIGNORE", "FCEDIT", "FIGNORE", "FPATH", "GLOBIGNORE", "HOSTFILE",
    "INPUTRC", "LOGNAME", "MAILPATH", "NULLCMD", "OLDPWD", "POSIXLY_CORRECT", "PS0", "PS3", "PSModulePath", "PWD",
    "READNULLCMD",
    "TIMEFORMAT", "TMOUT", "__PSLockdownPolicy",
    // The runner's own variable that programs look at.
    "CI",
    // libc, the terminal, systemd.
    "CREDENTIALS_DIRECTORY", "DISPLAY", "GETCONF_DIR", "HOSTALIASES", "LANG", "LANGUAGE", "LISTEN_FDNAMES",
    "LISTEN_FDS", "LISTEN_PID", "LOCALDOMAIN", "MEMUSAGE_OUTPUT", "NIS_PATH", "NOTIFY_SOCKET", "PCPROFILE_OUTPUT",
    "RESOLV_HOST_CONF", "RES_OPTIONS", "SASL_PATH", "TEMP", "TERM", "TERMCAP", "TMP", "TMPDIR", "TZ", "TZDIR",
    "XAUTHORITY",
    // Pagers, editors, browsers, archivers and other small programs.
    "BAT_PAGER", "BROWSER", "BZIP", "BZIP2", "EMACSLOADPATH", "EXINIT", "GNUPGHOME", "GPG_AGENT_INFO", "GREP_OPTIONS",
    "GVIMINIT", "GZIP", "INFOPATH", "LYNX_CFG", "MAILRC", "MANOPT", "MANPAGER", "MANPATH", "MANROFFOPT", "MANROFFSEQ",
    "MORE", "MYVIMRC", "PARALLEL", "RIPGREP_CONFIG_PATH", "SCREENDIR", "SCREENRC", "TAPE", "TAR_OPTIONS",
    "TMUX_TMPDIR", "UNZIP", "UNZIPOPT", "VIM", "VIMINIT", "VIMRUNTIME", "XZ_DEFAULTS", "XZ_OPT", "ZIPOPT",
    "ZSTD_CLEVEL",
    // TLS and clients of services.
    "AZURE_AUTHORITY_HOST", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CONFIG_DIR", "AZURE_EXTENSION_DIR", "BOTO_CONFIG",
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "LDAPCONF", "LDAPRC", "LIBMYSQL_PLUGINS", "LIBMYSQL_PLUGIN_DIR",
    "MYSQL_HOME", "MYSQL_TEST_LOGIN_FILE", "ODBCINI", "ODBCINSTINI", "ODBCSYSINI", "ORACLE_HOME", "PGOPTIONS",
    "PGSERVICEFILE", "PGSSLROOTCERT", "PGSYSCONFDIR", "PSQLRC", "PSQL_EDITOR", "PSQL_HISTORY", "PSQL_PAGER",
    "REDISCLI_RCFILE", "REQUESTS_CA_BUNDLE", "SQLPATH", "SSLKEYLOGFILE", "TNS_ADMIN",
    // Version control.
    "CVS_RSH", "CVSEDITOR", "CVSROOT", "CVS_SERVER", "P4CONFIG", "P4DIFF", "P4EDITOR", "P4MERGE", "P4PAGER", "P4PORT",
    "RSH", "SUDO_USER", "SVN_EDITOR", "SVN_MERGE", "SVN_SSH",
    // Compilers and the programs that makefiles name.
    "AR", "ARFLAGS", "AS", "ASFLAGS", "AWK", "BISON", "BISON_PKGDATADIR", "CC", "CCLD", "CFLAGS", "CL",
    "COMPILER_PATH", "CONFIG_SHELL", "CONFIG_SITE", "CPATH", "CPLUS_INCLUDE_PATH", "CPP", "CPPFLAGS", "CROSS_COMPILE",
    "CXX", "CXXFLAGS", "C_INCLUDE_PATH", "DEBUGINFOD_URLS", "DEPENDENCIES_OUTPUT", "DESTDIR", "F77", "FC", "FCFLAGS",
    "FFLAGS", "FLEX", "GNUMAKEFLAGS", "GREP", "HOSTCC", "HOSTCXX", "INSTALL", "LD", "LDFLAGS", "LDLIBS", "LEX",
    "LFLAGS", "LIBCLANG_PATH", "LIBRARY_PATH", "LIBS", "M4PATH", "MFLAGS", "NM", "OBJCOPY", "OBJC_INCLUDE_PATH",
    "OBJDUMP", "PREFIX", "PROTOC", "RANLIB", "READELF", "SCONSFLAGS", "SDKROOT", "SED", "STRIP", "SUNPRO_DEPENDENCIES",
    "SWIFT_EXEC", "YACC", "YFLAGS", "_CL_",
    // Go.
    "GCCGO", "GO111MODULE", "GOARCH", "GOAUTH", "GOBIN", "GOCACHE", "GOCACHEPROG", "GOCOVERDIR", "GODEBUG", "GOENV",
    "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOINSECURE", "GOMODCACHE", "GONOPROXY", "GONOSUMCHECK", "GONOSUMDB",
    "GOOS", "GOPATH", "GOPRIVATE", "GOPROXY", "GOROOT", "GOSUMDB", "GOTMPDIR", "GOTOOLCHAIN", "GOTOOLDIR", "GOVCS",
    "GOWORK", "GO_EXTLINK_ENABLED", "GOGC", "GOMEMLIMIT", "GOTELEMETRY", "GOTRACEBACK",
    // Interpreters and frameworks.
    "CELERY_CONFIG_MODULE", "CHROME_BIN", "CHROME_PATH", "CLASSPATH", "CYPRESS_INSTALL_BINARY", "CYPRESS_RUN_BINARY",
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

/// What a credential's name ends with. Of [`FAMILIES`] these pass (`CARGO_REGISTRY_TOKEN`, `DOCKER_PASSWORD`): their programs
/// log in with them, and run or load nothing by them.
#[rustfmt::skip]
const CREDENTIALS: &[&str] = &[
    "_ID", "_KEY", "_PASS", "_PASSPHRASE", "_PASSWD", "_PASSWORD", "_PAT", "_PWD", "_SECRET", "_TOKEN", "_USER",
    "_USERNAME",
];

/// Names within [`FAMILIES`] that secrets usually have, and that no program of the family runs, loads or connects by.
#[rustfmt::skip]
const USUAL: &[&str] = &[
    "ASPNETCORE_ENVIRONMENT", "COMPOSER_AUTH", "DOCKER_EMAIL", "DOCKER_IMAGE", "DOCKER_ORG", "DOCKER_REGISTRY",
    "DOCKER_REPO", "DOCKER_REPOSITORY", "DOTNET_ENVIRONMENT", "NODE_ENV", "SSH_HOST", "SSH_KNOWN_HOSTS", "SSH_PORT",
];

/// Beginnings within [`FAMILIES`] whose rest the author of a build chooses: inputs of modules, and tokens by host or index.
#[rustfmt::skip]
const INPUTS: &[&str] = &["POETRY_PYPI_TOKEN_", "TF_TOKEN_", "TF_VAR_"];

/// Whether a variable that a wildcard would make steers programs. `prefix` is the part of the name that the author chose, as it
/// stands in the name; the rest is the choice of the secret's writer.
pub(crate) fn steers(name: &str, prefix: &str) -> bool {
    if takes_over(name) || NAMES.contains(&name) {
        return true;
    }
    let name = name.to_ascii_uppercase();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    let ends = |endings: &[&str]| {
        let mut endings = endings.iter();
        endings.any(|ending| name.len() > ending.len() && name.ends_with(ending))
    };
    if begins(CLOSED) {
        return true;
    }
    if begins(INPUTS) {
        return false;
    }
    if ends(ENDINGS) && !prefix.ends_with('_') {
        return true;
    }
    begins(FAMILIES) && !ends(CREDENTIALS) && !USUAL.contains(&name.as_str())
}

#[cfg(test)]
mod tests;
