//! consul-template's functions that podkey does not offer, and why.

const MACHINE: &str = "it reads the agent's own environment or files, which hold nothing of the pod";
const RUNS: &str = "it runs or writes something in the agent";
const CONSUL: &str = "it asks Consul or Nomad";
const REGEX: &str = "a regular expression can cost any time";
const RANDOM: &str = "its result changes each time, so that the file would be made anew each time";
const NUMBERS: &str = "it reckons; podkey only places values";
const DEBUG: &str = "it prints values for a person who looks for a mistake";
const PLAIN: &str = "Write the value as text in the template";
const STATE: &str = "it keeps or makes maps, which nothing here needs";
const PARSE: &str = "values are used as the server gives them";

/// Names, why they are left out, what to do.
#[rustfmt::skip]
const REFUSED: &[(&[&str], &str, &str)] = &[
    (&["env", "mustEnv", "envOrDefault"], MACHINE, PLAIN),
    (&["file"], MACHINE, "Mount the file in the container"),
    (&["plugin", "writeToFile"], RUNS, "Use one entry of podkey.dev/files for each file"),
    (&["executeTemplate"], "templates in templates are not offered", "Write the text in its place"),
    (&["secrets"], "it lists paths, and each path must be known before the pod runs", "Write one {{ with secret \"path\" }} for each"),
    (&["key", "keyExists", "keyExistsGet", "keyOrDefault", "keys", "ls", "safeLs", "tree", "safeTree", "service", "services", "node", "nodes", "datacenters",
        "connect", "caRoots", "caLeaf", "partitions", "peerings", "byKey", "byTag", "byMeta", "exportedServices",
        "nomadServices", "nomadService", "nomadVarList", "nomadVarListSafe", "nomadVar", "nomadVarExists"], CONSUL, "Keep the value in a secret"),
    (&["regexMatch", "regexReplaceAll"], REGEX, "Use eq, contains, replaceAll, split or trim"),
    (&["timestamp"], RANDOM, PLAIN),
    (&["sockaddr"], MACHINE, PLAIN),
    (&["add", "subtract", "multiply", "divide", "modulo", "minimum", "maximum", "loop"], NUMBERS, PLAIN),
    (&["spew_dump", "spew_printf", "spew_sdump", "spew_sprintf"], DEBUG, "Use toJSON"),
    (&["scratch", "explode", "explodeMap", "mergeMap", "mergeMapWithOverride", "splitToMap"], STATE, "Use variables: {{ $x := .Data.data.x }}"),
    (&["parseBool", "parseFloat", "parseInt", "parseUint"], PARSE, "Compare texts: {{ if eq .Data.data.flag \"true\" }}"),
    (&["containsAll", "containsAny", "containsNone", "containsNotAll", "in"], "few use it", "Use contains, with and, or and not"),
    (&["toTOML"], "no kind of file that podkey knows of needs it", "Write the TOML as text around the values"),
    (&["md5sum", "hmacSHA256Hex"], "few use it", "Use sha256Hex"),
    (&["call"], "there is no value here that can be called", ""),
];

/// Why a function of that name is not offered, and what to do. None: nobody knows it.
pub(crate) fn reason(name: &str) -> Option<(&'static str, &'static str)> {
    if name.starts_with("sprig_") {
        return Some((
            "the functions of Sprig are not offered",
            "Use consul-template's own, such as trim, replaceAll, toJSON",
        ));
    }
    REFUSED
        .iter()
        .find(|(names, ..)| names.contains(&name))
        .map(|(_, reason, hint)| (*reason, *hint))
}
