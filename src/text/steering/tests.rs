//! Names of variables that steer programs, by the manuals of these programs, and names that secrets usually have.

use proptest::prelude::*;

use super::*;
use crate::text::is_variable_name;

/// Variables that steer the programs of a usual runner image.
#[rustfmt::skip]
const STEERING: &[(&str, &[&str])] = &[
    (
        "bash, dash, zsh, pwsh",
        &[
            "BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "BASH_FUNC_ls", "BASH_XTRACEFD", "BASH_LOADABLES_PATH",
            "BASH_COMPAT", "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS4", "IFS", "PATH", "CDPATH", "FPATH", "HOME",
            "SHELL", "ZDOTDIR", "FCEDIT", "HISTFILE", "INPUTRC", "GLOBIGNORE", "EXECIGNORE", "MAILPATH", "TMPDIR",
            "PWD", "OLDPWD", "POSIXLY_CORRECT", "PSModulePath", "NULLCMD", "TIMEFORMAT",
        ],
    ),
    (
        "ld.so and glibc",
        &[
            "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "LD_DEBUG_OUTPUT", "LD_PROFILE_OUTPUT",
            "DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES", "GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN",
            "LOCPATH", "MALLOC_TRACE", "NIS_PATH", "NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TZDIR",
            "MALLOC_CHECK_", "MUSL_LOCPATH", "LC_ALL", "LANG", "MEMUSAGE_OUTPUT", "PCPROFILE_OUTPUT", "ASAN_OPTIONS",
            "LSAN_OPTIONS",
        ],
    ),
    (
        "git, gh, ssh, svn, hg, cvs, rsync",
        &[
            "GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER",
            "GIT_EXEC_PATH", "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND", "GIT_TEMPLATE_DIR", "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM",
            "GIT_CONFIG_PARAMETERS", "GIT_CONFIG", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_ALLOW_PROTOCOL", "GIT_SSL_NO_VERIFY",
            "GIT_SSL_CAINFO", "GIT_TRACE", "GIT_TRACE_CURL", "GIT_ATTR_SOURCE", "GIT_NAMESPACE", "GIT_SHELL_PATH",
            "GIT_TERMINAL_PROMPT", "GIT_AUTHOR_NAME", "GIT_COMMITTER_EMAIL", "GH_HOST", "GH_PAGER", "GH_EDITOR",
            "GH_BROWSER", "GH_CONFIG_DIR", "GH_PATH", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "SSH_AUTH_SOCK",
            "SSH_SK_PROVIDER", "SSH_SK_HELPER", "SSH_PKCS11_HELPER", "SVN_SSH", "SVN_EDITOR", "HG", "HGRCPATH",
            "HGEDITOR", "CVS_RSH", "CVSEDITOR", "P4EDITOR", "RSH", "RSYNC_RSH", "RSYNC_CONNECT_PROG", "RSYNC_PROXY",
        ],
    ),
    (
        "make, cmake, ninja, autotools, caches of compilers",
        &[
            "MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS", "MAKEFILES", "MAKE", "MAKESHELL", "MAKELEVEL", "MAKEOVERRIDES",
            "CMAKE_TOOLCHAIN_FILE", "CMAKE_PROJECT_INCLUDE", "CMAKE_C_COMPILER_LAUNCHER", "CMAKE_GENERATOR",
            "CMAKE_PREFIX_PATH", "CMAKE_CXX_FLAGS", "CTEST_OUTPUT_ON_FAILURE", "NINJA_STATUS", "CCACHE_PREFIX",
            "CCACHE_COMPILER", "CCACHE_CONFIGPATH", "SCCACHE_ENDPOINT", "SCCACHE_CONF", "DISTCC_HOSTS", "CONFIG_SITE",
            "CONFIG_SHELL", "ACLOCAL_PATH", "AUTOM4TE", "AUTOCONF", "LIBTOOLIZE", "M4PATH", "PKG_CONFIG",
            "PKG_CONFIG_PATH", "PKG_CONFIG_SYSROOT_DIR", "QMAKESPEC", "SCONSFLAGS", "PREFIX", "DESTDIR",
            "BAZELISK_BASE_URL", "VCPKG_ROOT", "CONAN_HOME", "MESON_TESTTHREADS",
        ],
    ),
    (
        "gcc, binutils, clang, gdb",
        &[
            "CC", "CXX", "CPP", "LD", "AR", "AS", "NM", "RANLIB", "STRIP", "OBJCOPY", "CFLAGS", "CXXFLAGS", "CPPFLAGS",
            "LDFLAGS", "FFLAGS", "ASFLAGS", "LDLIBS", "GCC_EXEC_PREFIX", "COMPILER_PATH", "LIBRARY_PATH", "CPATH",
            "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES", "GCC_COLORS",
            "LLVM_PROFILE_FILE", "CLANG_CONFIG_FILE_SYSTEM_DIR", "GDBHISTFILE", "DEBUGINFOD_URLS", "LIBCLANG_PATH",
            "PROTOC", "YACC", "CROSS_COMPILE",
        ],
    ),
    (
        "what make, autoconf, cmake, meson, cc-rs and MPI call",
        &[
            "RM", "CO", "GET", "LINT", "TEX", "PC", "M2C", "TANGLE", "WEAVE", "MAKEINFO", "MAKE_RESTARTS", "EGREP",
            "FGREP", "GREP", "LN_S", "MKDIR_P", "INSTALL", "INSTALL_PROGRAM", "OBJC", "OBJCXX", "CUDACXX", "CUDAHOSTCXX",
            "HIPCXX", "CC_LD", "CXX_LD", "CC_x86_64_unknown_linux_gnu", "CXX_x86_64_unknown_linux_gnu",
            "AR_x86_64_unknown_linux_gnu", "TARGET_CC", "TARGET_CXX", "TARGET_AR", "HOST_CC", "HOST_CXX", "HOST_AR",
            "CC_FOR_BUILD", "CXX_FOR_BUILD", "BUILD_CC", "BUILD_CXX", "OMPI_CC", "OMPI_CXX", "MPICH_CC", "MPICH_CXX",
            "CMAKE_C_FLAGS", "NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS", "JAVA_FLAGS", "GOFLAGS", "RUSTFLAGS",
        ],
    ),
    (
        "properties of MSBuild",
        &[
            "PreBuildEvent", "PostBuildEvent", "PREBUILDEVENT", "POSTBUILDEVENT", "PreLinkEvent",
            "BeforeMicrosoftNETSdkTargets", "BEFOREMICROSOFTNETSDKTARGETS", "AfterMicrosoftNETSdkTargets",
            "AFTERMICROSOFTNETSDKTARGETS", "AlternateCommonProps", "ALTERNATECOMMONPROPS", "LanguageTargets",
            "LANGUAGETARGETS", "RunCommand", "RUNCOMMAND", "RunArguments", "RestoreSources", "RESTORESOURCES",
            "RestoreAdditionalProjectSources", "RESTOREADDITIONALPROJECTSOURCES", "RestoreConfigFile",
            "CUSTOMBEFOREMICROSOFTCOMMONTARGETS", "CUSTOMAFTERDIRECTORYBUILDPROPS", "DIRECTORYBUILDPROPSPATH",
            "ForceImportBeforeCppTargets", "NuGetPropsFile", "NuGetRestoreTargets",
        ],
    ),
    (
        "programs, their versions and where they come from",
        &[
            "HARNESS_PERL", "HARNESS_PERL_SWITCHES", "CHROMIUM_BIN", "FIREFOX_BIN", "TFENV_REMOTE", "SENTRYCLI_CDNURL",
            "VIRTUALENVWRAPPER_PYTHON", "MVN_CMD", "_EXPERIMENTAL_DAGGER_RUNNER_HOST",
        ],
    ),
    (
        "where credentials are sent to",
        &[
            "AWS_S3_ENDPOINT", "AWS_STS_ENDPOINT", "AWS_ENDPOINT", "AWS_S3_ENDPOINT_URL", "ARM_METADATA_HOSTNAME",
            "IDENTITY_ENDPOINT", "MSI_ENDPOINT", "IMDS_ENDPOINT", "STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST",
            "FIRESTORE_EMULATOR_HOST",
        ],
    ),
    (
        "names of families that are closed name by name",
        &[
            "HISTFILESIZE", "HISTCONTROL", "HISTIGNORE", "HISTSIZE", "HISTTIMEFORMAT", "LESSSECURE", "LESSSECURE_ALLOW",
            "LESSKEY_CONTENT", "LESS_TERMCAP_md", "GHC_ENVIRONMENT", "GHCUP_INSTALL_BASE_PREFIX", "NETRC", "CURLRC",
            "NPMRC", "PYLINTRC", "MATPLOTLIBRC", "CONDARC", "MAKE_TERMOUT", "HTTP_PROXY_HOST",
        ],
    ),
    (
        "python and its packages",
        &[
            "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONBREAKPOINT", "PYTHONUSERBASE",
            "PYTHONWARNINGS", "PYTHONPYCACHEPREFIX", "PYTHONEXECUTABLE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
            "PIP_CONFIG_FILE", "PIP_TRUSTED_HOST", "PIP_PYTHON", "PIP_USER", "PIP_CERT", "PIPENV_PYPI_MIRROR",
            "UV_INDEX_URL", "UV_PYTHON", "UV_CONFIG_FILE", "POETRY_HOME", "POETRY_REPOSITORIES_X_URL",
            "TWINE_REPOSITORY_URL", "CONDA_EXE", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "MYPYPATH",
            "DJANGO_SETTINGS_MODULE", "FLASK_APP", "GUNICORN_CMD_ARGS", "JUPYTER_CONFIG_DIR", "IPYTHONDIR",
            "PYENV_ROOT", "TOX_PARALLEL_NO_SPINNER",
        ],
    ),
    (
        "node, npm, yarn, pnpm and what they start",
        &[
            "NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED",
            "NODE_REPL_EXTERNAL_MODULE", "NODE_V8_COVERAGE", "NODE_REDIRECT_WARNINGS", "NPM_CONFIG_REGISTRY",
            "npm_config_script_shell", "npm_config_node_options", "npm_execpath", "npm_node_execpath",
            "npm_lifecycle_script", "YARN_YARN_PATH", "YARN_RC_FILENAME", "yarn_registry", "PNPM_HOME",
            "COREPACK_NPM_REGISTRY", "BUN_INSTALL", "DENO_DIR", "NVM_DIR", "NVM_NODEJS_ORG_MIRROR", "VOLTA_HOME",
            "ELECTRON_MIRROR", "ELECTRON_RUN_AS_NODE", "PUPPETEER_EXECUTABLE_PATH", "PLAYWRIGHT_DOWNLOAD_HOST",
            "CHROME_BIN", "CYPRESS_INSTALL_BINARY", "SASS_BINARY_SITE", "PRISMA_QUERY_ENGINE_LIBRARY",
            "TS_NODE_PROJECT", "BROWSER",
        ],
    ),
    (
        "ruby, perl, php, lua, tcl, R, julia",
        &[
            "RUBYOPT", "RUBYLIB", "RUBYSHELL", "BUNDLE_GEMFILE", "BUNDLE_PATH", "BUNDLE_MIRROR__ALL",
            "BUNDLER_VERSION", "GEM_HOME", "GEM_PATH", "GEM_HOST", "RBENV_DIR", "IRBRC", "JRUBY_OPTS", "SPEC_OPTS",
            "PERL5LIB", "PERL5OPT", "PERL5DB", "PERLLIB", "PERL_MM_OPT", "PERL5SHELL", "PERL_CPANM_OPT", "PHPRC",
            "PHP_INI_SCAN_DIR", "PHP_OPTIONS", "COMPOSER", "COMPOSER_HOME", "COMPOSER_ALLOW_SUPERUSER",
            "COMPOSER_VENDOR_DIR", "XDEBUG_CONFIG", "LUA_INIT", "LUA_PATH", "LUA_CPATH", "LUA_INIT_5_4", "TCLLIBPATH",
            "TCL_LIBRARY", "R_PROFILE", "R_PROFILE_USER", "R_ENVIRON_USER", "R_LIBS", "R_ENVIRON", "JULIA_LOAD_PATH",
            "JULIA_DEPOT_PATH",
        ],
    ),
    (
        "java, maven, gradle, ant, sbt",
        &[
            "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_HOME", "JAVA_OPTS", "JAVACMD",
            "JAVA_OPTIONS", "CLASSPATH", "MAVEN_OPTS", "MAVEN_ARGS", "MAVEN_CMD_LINE_ARGS", "MAVEN_HOME", "M2_HOME",
            "MVNW_REPOURL", "GRADLE_OPTS", "GRADLE_USER_HOME", "GRADLE_HOME", "ANT_OPTS", "ANT_HOME", "ANT_ARGS",
            "SBT_OPTS", "IVY_HOME", "SCALA_HOME", "COURSIER_REPOSITORIES", "KOTLIN_HOME", "GROOVY_CONF",
            "LEIN_JVM_OPTS", "CATALINA_OPTS", "JVM_OPTS", "LOG4J_CONFIGURATION_FILE", "SPRING_APPLICATION_JSON",
            "SPRING_CONFIG_IMPORT", "LOGGING_CONFIG", "SONAR_SCANNER_OPTS", "JRE_HOME", "ANDROID_HOME",
            "ANDROID_SDK_ROOT",
        ],
    ),
    (
        "go, cargo and rustc, .NET, haskell, erlang, swift",
        &[
            "GOFLAGS", "GOPROXY", "GONOSUMDB", "GONOSUMCHECK", "GOSUMDB", "GOINSECURE", "GOPRIVATE", "GOTOOLCHAIN",
            "GOPATH", "GOROOT", "GOBIN", "GOENV", "GOWORK", "GOVCS", "GOAUTH", "GOCACHEPROG", "GOTMPDIR",
            "GOEXPERIMENT", "GODEBUG", "CGO_CFLAGS", "CGO_LDFLAGS", "CGO_ENABLED", "GO_EXTLINK_ENABLED", "CARGO",
            "CARGO_HOME", "CARGO_BUILD_RUSTC_WRAPPER", "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "CARGO_REGISTRY_CREDENTIAL_PROVIDER",
            "CARGO_REGISTRY_DEFAULT", "CARGO_NET_GIT_FETCH_WITH_CLI", "CARGO_ENCODED_RUSTFLAGS", "RUSTC",
            "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTDOC", "RUSTDOCFLAGS", "RUSTUP_TOOLCHAIN",
            "RUSTUP_HOME", "RUSTUP_DIST_SERVER", "RUSTC_BOOTSTRAP", "DOTNET_STARTUP_HOOKS", "DOTNET_ADDITIONAL_DEPS",
            "DOTNET_SHARED_STORE", "DOTNET_ROOT", "DOTNET_gcServer", "CORECLR_PROFILER", "CORECLR_PROFILER_PATH",
            "CORECLR_ENABLE_PROFILING", "COMPlus_EnableEventPipe", "COREHOST_TRACEFILE",
            "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES", "ASPNETCORE_URLS", "MSBuildSDKsPath", "MSBUILD_EXE_PATH",
            "CustomBeforeMicrosoftCommonProps", "CustomAfterMicrosoftCommonTargets", "DirectoryBuildPropsPath",
            "CscToolExe", "NUGET_PACKAGES", "NUGET_PLUGIN_PATHS", "NUGET_RESTORE_MSBUILD_ARGS", "MONO_PATH",
            "GHC_PACKAGE_PATH", "GHCRTS", "STACK_YAML", "CABAL_DIR", "OCAMLPARAM", "OPAMSWITCH", "ERL_LIBS",
            "ERL_FLAGS", "ERL_AFLAGS", "ELIXIR_ERL_OPTIONS", "MIX_HOME", "HEX_MIRROR", "SWIFT_EXEC", "SDKROOT",
            "DEVELOPER_DIR",
        ],
    ),
    (
        "curl, wget, openssl, proxies, certificates",
        &[
            "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
            "ftp_proxy", "socks_proxy", "grpc_proxy", "CURL_HOME", "CURL_CA_BUNDLE", "CURL_SSL_BACKEND", "WGETRC",
            "SSLKEYLOGFILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "OPENSSL_CONF", "OPENSSL_MODULES",
            "OPENSSL_ENGINES", "GNUTLS_SYSTEM_PRIORITY_FILE", "KRB5_CONFIG", "KRB5CCNAME", "LDAPCONF",
            "LDAPTLS_CACERT", "SASL_PATH", "NODE_USE_SYSTEM_CA", "LYNX_CFG",
        ],
    ),
    (
        "docker, buildkit, kubectl, helm, terraform, clouds",
        &[
            "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
            "DOCKER_BUILDKIT", "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "DOCKER_CONTENT_TRUST_SERVER",
            "DOCKER_CUSTOM_HEADERS", "BUILDKIT_HOST", "BUILDX_CONFIG", "BUILDX_BUILDER", "COMPOSE_FILE",
            "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_REGISTRIES_CONF", "REGISTRY_AUTH_FILE", "STORAGE_OPTS",
            "KUBECONFIG", "KUBE_EDITOR", "KUBECTL_EXTERNAL_DIFF", "KUBECTL_KUBERC", "KUBERC", "KUBE_CONFIG_PATH",
            "KUBERNETES_SERVICE_HOST", "KUBERNETES_MASTER", "KREW_ROOT", "KUSTOMIZE_PLUGIN_HOME", "HELM_PLUGINS",
            "HELM_DRIVER", "HELM_REPOSITORY_CONFIG", "HELM_KUBEAPISERVER", "HELM_BIN", "TF_CLI_CONFIG_FILE",
            "TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_PLUGIN_CACHE_DIR", "TF_DATA_DIR", "TF_LOG_PATH",
            "TF_REATTACH_PROVIDERS", "TF_HTTP_ADDRESS", "TF_WORKSPACE", "TERRAGRUNT_TFPATH", "TG_TF_PATH",
            "PACKER_PLUGIN_PATH", "VAGRANT_VAGRANTFILE", "PULUMI_HOME", "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PAGER",
            "AWS_DATA_PATH", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CLI_AUTO_PROMPT", "AWS_PROFILE",
            "AWS_LAMBDA_EXEC_WRAPPER", "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "CLOUDSDK_PYTHON",
            "CLOUDSDK_CONFIG", "GCE_METADATA_HOST", "BOTO_CONFIG", "AZURE_CONFIG_DIR", "AZURE_EXTENSION_DIR",
            "VAULT_ADDR", "VAULT_CACERT", "VAULT_SKIP_VERIFY", "BAO_ADDR", "CONSUL_HTTP_ADDR", "NOMAD_ADDR",
            "ANSIBLE_CONFIG", "ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_LIBRARY", "COSIGN_REPOSITORY", "TRIVY_CONFIG",
            "ARGOCD_OPTS",
        ],
    ),
    (
        "pagers, editors, sudo, systemd, archivers, the desktop's libraries, databases",
        &[
            "PAGER", "EDITOR", "VISUAL", "LESS", "LESSOPEN", "LESSCLOSE", "LESSEDIT", "LESSKEY", "LESSKEYIN",
            "LESSHISTFILE", "MORE", "MANPAGER", "MANOPT", "MANROFFOPT", "MANPATH", "INFOPATH", "BAT_PAGER",
            "SUDO_ASKPASS", "SUDO_EDITOR", "SUDO_COMMAND", "SUDO_USER", "SYSTEMD_PAGER", "SYSTEMD_EDITOR",
            "SYSTEMD_LESS", "NOTIFY_SOCKET", "LISTEN_FDS", "CREDENTIALS_DIRECTORY", "DBUS_SESSION_BUS_ADDRESS",
            "XDG_CONFIG_HOME", "XDG_DATA_DIRS", "XDG_RUNTIME_DIR", "TERM", "TERMINFO", "TERMCAP", "DISPLAY",
            "TAR_OPTIONS", "TAPE", "GZIP", "XZ_OPT", "ZIPOPT", "UNZIP", "GREP_OPTIONS", "RIPGREP_CONFIG_PATH",
            "FZF_DEFAULT_COMMAND", "VIMINIT", "EXINIT", "VIMRUNTIME", "EMACSLOADPATH", "SCREENRC", "TMUX_TMPDIR",
            "PARALLEL", "GNUPGHOME", "APT_CONFIG", "DPKG_ROOT", "DEBCONF_DB_OVERRIDE", "HOMEBREW_BOTTLE_DOMAIN",
            "NIX_PATH", "NIX_CONFIG", "ASDF_DIR", "MISE_CONFIG_FILE", "DIRENV_CONFIG", "QT_PLUGIN_PATH", "GTK_MODULES",
            "GIO_EXTRA_MODULES", "GST_PLUGIN_PATH", "GI_TYPELIB_PATH", "VK_LAYER_PATH", "MAGICK_CODER_MODULE_PATH",
            "TEXINPUTS", "PGSERVICEFILE", "PGOPTIONS", "PGSYSCONFDIR", "PSQLRC", "PSQL_EDITOR",
            "MYSQL_TEST_LOGIN_FILE", "LIBMYSQL_PLUGINS", "ODBCSYSINI", "TNS_ADMIN", "ORACLE_HOME",
        ],
    ),
    (
        "the runner, its actions, podkey",
        &[
            "GITHUB_ENV", "GITHUB_PATH", "GITHUB_TOKEN", "GITHUB_WORKSPACE", "GITHUB_API_URL", "RUNNER_TEMP",
            "RUNNER_TOOL_CACHE", "ACTIONS_RUNNER_HOOK_JOB_STARTED", "ACTIONS_STEP_DEBUG", "ACTIONS_RUNTIME_TOKEN",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "AGENT_TOOLSDIRECTORY", "INPUT_TOKEN", "INPUT_SCRIPT", "STATE_isPost",
            "STATE_sshKeyPath", "STATE_repositoryPath", "STATE_tmpDir", "STATE_CACHE_KEY", "CI", "PODKEY_PLAN",
        ],
    ),
];

/// Variables of programs that are not in the tables. The endings of the names are refused.
#[rustfmt::skip]
const UNKNOWN_PROGRAMS: [&str; 31] = [
    "FOOFLAGS", "FOO_FLAGS", "FOO_OPTS", "FOO_OPTIONS", "FOO_WRAPPER", "FOO_PROXY", "foo_proxy", "FOOPATH", "FOO_PATH",
    "FOO_RC", "FOO_HOME", "FOO_PAGER", "FOO_EDITOR", "FOO_ASKPASS", "FOO_SHELL", "FOO_BROWSER", "FOO_COMMAND",
    "FOO_CONFIG_FILE", "FOO_CONFIG_DIR", "FOO_CA_BUNDLE", "FOO_LAUNCHER", "FOO_LINKER", "FOO_PRELOAD", "FOO_ARGS",
    "FOO_CC", "FOO_CXX", "FOO_BIN", "FOO_CMD", "FOO_EMULATOR_HOST", "FOO_CDNURL", "FOO_FOR_BUILD",
];

/// Names that secrets usually have.
#[rustfmt::skip]
const USUAL_NAMES: &[&str] = &[
    // Words that fields have.
    "USER", "USERNAME", "LOGIN", "PASSWORD", "PASSPHRASE", "HOST", "HOSTNAME", "PORT", "URL", "URI", "DSN", "TOKEN",
    "KEY", "SECRET", "API_KEY", "ACCESS_KEY", "SECRET_KEY", "CERTIFICATE", "CERT", "CA", "PRIVATE_KEY", "TLS_CRT",
    "TLS_KEY", "CONFIG", "DATABASE", "NAME", "EMAIL", "MAIL", "REGION", "ENDPOINT", "ACCOUNT", "TENANT", "DOMAIN",
    "VERSION", "DATA", "VALUE", "DEBUG", "LOG_LEVEL", "GOOGLE",
    // Applications.
    "DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME", "DATABASE_URL", "REDIS_URL", "MONGODB_URI",
    "POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "MYSQL_PASSWORD", "MYSQL_HOST", "MYSQL_ROOT_PASSWORD",
    "PGPASSWORD", "PGUSER", "PGHOST", "PGDATABASE", "SMTP_PASSWORD", "SMTP_HOST", "AMQP_URL", "KAFKA_SASL_PASSWORD",
    "JWT_SECRET", "SECRET_KEY_BASE", "SESSION_SECRET", "ENCRYPTION_KEY", "DJANGO_SECRET_KEY", "RAILS_MASTER_KEY",
    "APP_KEY", "HTTP_BASIC_AUTH", "BASIC_AUTH_PASSWORD", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET",
    "LDAP_BIND_PASSWORD", "SPRING_DATASOURCE_PASSWORD", "NODE_ENV", "ASPNETCORE_ENVIRONMENT", "APP_ENV",
    "KEYSTORE_PASSWORD", "KEY_ALIAS", "ANDROID_KEYSTORE_BASE64", "SIGNING_KEY", "GPG_PRIVATE_KEY", "GPG_PASSPHRASE",
    // Clouds.
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_ACCOUNT_ID", "AWS_ROLE_ARN", "AWS_S3_BUCKET", "AWS_ECR_REGISTRY", "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_CREDENTIALS", "AZURE_SUBSCRIPTION_ID", "ARM_CLIENT_ID",
    "ARM_CLIENT_SECRET", "ARM_ACCESS_KEY", "GOOGLE_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS", "GCP_SA_KEY",
    "GCP_PROJECT_ID", "CLOUDFLARE_API_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN", "HCLOUD_TOKEN", "OS_PASSWORD",
    "KUBE_CONFIG", "KUBE_CONFIG_DATA", "KUBE_TOKEN", "KUBE_HOST", "TF_VAR_db_password", "TF_VAR_path",
    "TF_TOKEN_app_terraform_io", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "ANSIBLE_VAULT_PASSWORD",
    "VAULT_TOKEN", "VAULT_ROLE_ID", "VAULT_SECRET_ID", "CONSUL_HTTP_TOKEN", "ARGOCD_AUTH_TOKEN", "HELM_REPO_PASSWORD",
    // Registries and services of builds.
    "NPM_TOKEN", "NODE_AUTH_TOKEN", "NPM_PASSWORD", "YARN_NPM_AUTH_TOKEN", "DOCKER_USERNAME", "DOCKER_PASSWORD",
    "DOCKER_REGISTRY", "DOCKERHUB_TOKEN", "DOCKERHUB_USERNAME", "CARGO_REGISTRY_TOKEN",
    "CARGO_REGISTRIES_INTERNAL_TOKEN", "MAVEN_USERNAME", "MAVEN_PASSWORD", "MAVEN_GPG_PASSPHRASE", "OSSRH_USERNAME",
    "OSSRH_PASSWORD", "GRADLE_PUBLISH_KEY", "GRADLE_PUBLISH_SECRET", "ORG_GRADLE_PROJECT_signingPassword",
    "NUGET_API_KEY", "NUGET_TOKEN", "GEM_HOST_API_KEY", "RUBYGEMS_API_KEY", "PYPI_TOKEN", "TWINE_USERNAME",
    "TWINE_PASSWORD", "POETRY_PYPI_TOKEN_PYPI", "UV_PUBLISH_TOKEN", "COMPOSER_AUTH", "CONAN_PASSWORD",
    "ARTIFACTORY_USER", "ARTIFACTORY_API_KEY", "NEXUS_URL", "NEXUS_PASSWORD", "HEX_API_KEY",
    "HOMEBREW_GITHUB_API_TOKEN", "COSIGN_PRIVATE_KEY", "COSIGN_PASSWORD", "GH_TOKEN", "GH_PAT", "GH_APP_ID",
    "GITLAB_TOKEN", "GIT_TOKEN", "GIT_USERNAME", "GIT_PASSWORD", "BITBUCKET_APP_PASSWORD", "SSH_PRIVATE_KEY",
    "SSH_KEY", "SSH_HOST", "SSH_USER", "SSH_KNOWN_HOSTS", "DEPLOY_KEY", "SONAR_TOKEN", "SONAR_HOST_URL",
    "CODECOV_TOKEN", "SNYK_TOKEN", "SENTRY_DSN", "SENTRY_AUTH_TOKEN", "SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN",
    "TEAMS_WEBHOOK", "TG_BOT_TOKEN", "TG_CHAT_ID", "PAGERDUTY_KEY", "DD_API_KEY", "NEW_RELIC_LICENSE_KEY",
    "OTEL_EXPORTER_OTLP_HEADERS", "STRIPE_SECRET_KEY", "TWILIO_AUTH_TOKEN", "SENDGRID_API_KEY", "OPENAI_API_KEY",
    "CYPRESS_RECORD_KEY", "NX_CLOUD_ACCESS_TOKEN", "VERCEL_TOKEN", "NETLIFY_AUTH_TOKEN", "NEXT_PUBLIC_API_URL",
    "VITE_API_URL", "MATCH_PASSWORD", "FASTLANE_PASSWORD", "RSYNC_PASSWORD",
    // Names that begin or end like a program's variable.
    "STATE_BUCKET", "STATE_STORE_PASSWORD", "HISTORY_DB_URL", "LESSON_API_URL", "MAKE_WEBHOOK_URL", "GHCR_REGISTRY",
    "GHCR_URL", "GHCR_TOKEN", "DATA_SRC", "FEATURE_FLAGS", "SSH_PRIVATE_KEY_BASE64", "SSH_KEY_B64",
    "GH_APP_PRIVATE_KEY_B64", "JAVA_KEYSTORE_BASE64", "DOCKER_SERVER", "DOCKER_LOGIN", "GIT_EMAIL", "GIT_URL",
    "HTTP_PROXY_PASSWORD", "HTTP_PROXY_USER", "MAIL_CC", "EMAIL_CC", "CC_TEST_REPORTER_ID", "HARNESS_API_KEY",
    "S3_ENDPOINT", "AZURE_OPENAI_ENDPOINT",
    // Names by `path **`, in the case of the fields.
    "user", "password", "path", "env", "home", "shell", "host", "token", "privateKey", "clientSecret",
    "connectionString", "1NUM", "schlüssel",
];

fn steering() -> impl Iterator<Item = &'static str> {
    let known = STEERING.iter().flat_map(|(_, names)| names.iter().copied());
    known.chain(UNKNOWN_PROGRAMS)
}

/// Regression: 94 of 107 such names passed, because the list of single names did not have them.
#[test]
fn names_that_steer_programs_do_not_pass_a_wildcard() {
    let passed: Vec<&str> = steering().filter(|name| !steers(name, "")).collect();
    assert!(passed.is_empty(), "{passed:?}");
    assert!(steering().count() >= 150, "{}", steering().count());
}

#[test]
fn names_that_secrets_usually_have_pass() {
    let refused: Vec<&&str> = USUAL_NAMES.iter().filter(|name| steers(name, "")).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(USUAL_NAMES.len() >= 80);
}

/// Such as `MAKEFL` and `AGS`, `HTTP_` and `PROXY`: with the name split at every position.
#[test]
fn prefix_and_field_never_make_the_name_of_a_known_variable() {
    for name in STEERING.iter().flat_map(|(_, names)| names.iter().copied()) {
        for (end, _) in name.char_indices() {
            assert!(steers(name, &name[..end]), "{} and {}", &name[..end], &name[end..]);
        }
    }
}

#[test]
fn a_prefix_that_ends_with_an_underscore_makes_a_name_that_no_program_knows() {
    for name in steering() {
        for prefix in ["APP_", "MY_TEAM_", "x__"] {
            let own = format!("{prefix}{name}");
            assert!(!steers(&own, prefix), "{own}");
        }
    }
    // A prefix without the underscore may be the beginning of a program's own name.
    assert!(steers("APPFLAGS", "APP"));
    assert!(steers("APP_FLAGS", "AP"));
    // The beginning of a program's own name is no protection.
    for (name, prefix) in [
        ("GIT_DIR", "GIT_"),
        ("LD_PRELOAD", "LD_"),
        ("CARGO_HOME", "CARGO_"),
        ("JAVA_TOOL_OPTIONS", "JAVA_TOOL_"),
    ] {
        assert!(steers(name, prefix), "{name}");
    }
}

#[test]
fn families_are_refused_in_upper_and_lower_case() {
    for (_, names) in STEERING {
        for name in names
            .iter()
            .filter(|name| name.contains('_') && !NAMES.contains(name) && takes_over(name).is_none())
        {
            assert!(steers(&name.to_lowercase(), ""), "{}", name.to_lowercase());
            assert!(steers(&name.to_uppercase(), ""), "{}", name.to_uppercase());
        }
    }
}

#[test]
fn the_tables_have_valid_names_and_none_twice() {
    for (table, capitals) in [
        (CLOSED, true),
        (FAMILIES, true),
        (ENDINGS, true),
        (NAMES, false),
        (CREDENTIALS, true),
        (USUAL, true),
    ] {
        for (index, entry) in table.iter().enumerate() {
            assert!(!table[..index].contains(entry), "{entry} is there twice");
            assert!(is_variable_name(entry), "{entry}");
            // Names are compared in upper case.
            assert!(!capitals || *entry == entry.to_ascii_uppercase(), "{entry}");
        }
    }
    for name in NAMES.iter().copied() {
        assert!(takes_over(name).is_none(), "{name} is in the stricter list already");
    }
    for name in USUAL {
        assert!(
            FAMILIES.iter().any(|family| name.starts_with(family))
                || ENDINGS.iter().any(|ending| name.ends_with(ending)),
            "{name} passes in any case"
        );
    }
}

proptest! {
    #[test]
    fn a_wildcard_never_sets_a_variable_that_an_author_may_not_choose(name in "[A-Za-z_]{0,12}", prefix in "[A-Z_]{0,4}") {
        let name = format!("{prefix}{name}");
        prop_assert!(takes_over(&name).is_none() || steers(&name, &prefix));
    }
}
