//! Functions of consul-template that podkey does not offer, and functions of Helm that authors take for them, each with the reason.

const MACHINE: &str = "it reads the environment, the files or the network of the agent, which are not those of the pod";
const RUNS: &str = "it runs a program or writes a file in the agent";
const CONSUL: &str = "it asks Consul or Nomad";
const REGEX: &str = "a regular expression may need any amount of time";
const CHANGES: &str = "its result changes each time, so that the file would change at each read";
const NUMBERS: &str = "it computes with numbers, and podkey only puts values into text";
const DEBUG: &str = "it prints values for debugging";
const PLAIN: &str = "Write the value as text in the template";
const STATE: &str = "it stores or makes maps, and a template only prints values";
const OF_OTHERS: &str = "it is a function of Helm's charts, and not of consul-template";
const PARSE: &str = "the numbers of a secret are printed as the server writes them";

/// Names of <https://github.com/hashicorp/consul-template/blob/main/docs/templating-language.md>, why podkey does not offer them, and
/// what an author writes in their place.
#[rustfmt::skip]
const REFUSED: &[(&[&str], &str, &str)] = &[
    (&["env", "mustEnv", "envOrDefault"], MACHINE, PLAIN),
    (&["file"], MACHINE, "Mount the file in the container"),
    (&["plugin", "writeToFile"], RUNS, "Use one entry of podkey.dev/files for each file"),
    (&["executeTemplate"], "templates in templates are not offered", "Write the text in its place"),
    (&["secrets"], "it lists paths, and each path must be known before the pod runs", "Write one {{ with secret \"path\" }} for each"),
    (&["key", "keyExists", "keyExistsGet", "keyOrDefault", "keys", "ls", "safeLs", "tree", "safeTree", "service", "services", "node", "nodes", "datacenters",
        "connect", "caRoots", "caLeaf", "partitions", "peerings", "byKey", "byTag", "byMeta", "byPort", "exportedServices",
        "nomadServices", "nomadService", "nomadVarList", "nomadVarListSafe", "nomadVar", "nomadVarExists"], CONSUL, "Keep the value in a secret"),
    (&["regexMatch", "regexReplaceAll"], REGEX, "Use eq, contains, replaceAll, split or trim"),
    (&["timestamp"], CHANGES, PLAIN),
    (&["sockaddr"], MACHINE, PLAIN),
    (&["add", "subtract", "multiply", "divide", "modulo", "minimum", "maximum", "loop"], NUMBERS, PLAIN),
    (&["spew_dump", "spew_printf", "spew_sdump", "spew_sprintf"], DEBUG, "Use toJSON"),
    (&["scratch", "explode", "explodeMap", "mergeMap", "mergeMapWithOverride", "splitToMap"], STATE, "Use variables: {{ $x := .Data.data.x }}"),
    (&["parseBool", "parseFloat", "parseInt", "parseUint"], PARSE, "Compare texts: {{ if eq .Data.data.flag \"true\" }}"),
    (&["containsAll", "containsAny", "containsNone", "containsNotAll", "in"], "few templates use it", "Use contains, with and, or and not"),
    (&["toTOML"], "no file format of podkey needs it", "Write the TOML as text around the values"),
    (&["md5sum", "hmacSHA256Hex"], "few templates use it", "Use sha256Hex"),
    (&["quote"], OF_OTHERS, "Use printf \"%q\", or toJSON for JSON and YAML"),
    (&["squote"], OF_OTHERS, "Write the quotes as text around the value"),
    (&["b64enc"], OF_OTHERS, "Use base64Encode"),
    (&["b64dec"], OF_OTHERS, "Use base64Decode"),
    (&["upper"], OF_OTHERS, "Use toUpper"),
    (&["lower"], OF_OTHERS, "Use toLower"),
    (&["replace"], OF_OTHERS, "Use replaceAll"),
    (&["default", "coalesce"], OF_OTHERS, "Use or: {{ or (index .Data.data \"port\") \"5432\" }}"),
    (&["nindent"], OF_OTHERS, "Use indent, with a line break in front"),
    (&["include", "tpl", "lookup", "required"], OF_OTHERS, "Write the text in its place"),
    (&["call"], "no value of a template is a function", "Write the name of the function itself"),
];

/// The functions that a template may not call: names, why, and what an author writes instead.
pub fn refused_functions() -> impl Iterator<Item = (&'static [&'static str], &'static str, &'static str)> {
    REFUSED.iter().copied()
}

/// Why a function is not offered, and what to write in its place. None: neither consul-template nor Helm has a function of that name.
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
