//! What reviews of pods of one template have in common: a review's text without the names that no decision depends on.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

/// How the API server begins the name of the volume with the service account's token. Five characters follow, which differ from
/// pod to pod (`plugin/pkg/admission/serviceaccount/admission.go` in Kubernetes).
const TOKEN_VOLUME_PREFIX: &str = "kube-api-access-";
const TOKEN_VOLUME_SUFFIX_BYTES: usize = 5;

/// What stands in the template in the place of each character of a name.
const BLANK: u8 = b'x';

/// A review's text in which names are blank. A name here is a text, or a part of a text, of ASCII letters, digits, `-`, `.`, `:`
/// and `_`, in a place that no decision depends on (see [`ReviewNames`]).
pub(super) struct Template {
    text: Vec<u8>,
    /// In the order of the text.
    names: Vec<Name>,
    /// The name of the request.
    pub(super) uid: Range<usize>,
    /// The pod's name that the log shows. None: the pod has no name that differs between reviews of this template.
    pub(super) pod_name: Option<Range<usize>>,
    /// Where the token volume's name differs, in its first place.
    token_volume: Option<Range<usize>>,
}

/// The place of a name in the text.
struct Name {
    begin: u32,
    end: u32,
    /// The name is that of the token volume. All names of this kind must be equal, or a mount could have another volume.
    is_token_volume: bool,
}

impl Name {
    fn range(&self) -> Range<usize> {
        self.begin as usize..self.end as usize
    }
}

impl Template {
    /// The template of a review. None: the text is not a review of a pod, or its uid is not a name.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let review: ReviewNames<'_> = serde_json::from_slice(text).ok()?;
        let mut places = Places::new(text);
        let ReviewNames { request } = review;
        let uid = places.whole(request.uid)?;
        let metadata: MetadataNames<'_> = object(request.object.metadata)?;
        let [of_request, of_pod] = [request.name, metadata.name].map(|name| name.and_then(|name| places.whole(name)));
        let has_name = request.name.is_some_and(|name| !matches!(name.get(), "null" | r#""""#));
        for owner in metadata.owner_references.iter().flatten() {
            for name in [owner.name, owner.uid].into_iter().flatten() {
                places.whole(name);
            }
        }
        if let Some(fields) = metadata.managed_fields {
            places.parts(fields);
        }
        let spec = &request.object.spec;
        let containers = [&spec.init_containers, &spec.containers];
        for container in containers.into_iter().flatten().flatten() {
            let sources = container.env.iter().flatten().filter_map(|var| var.value_from);
            let secrets = sources.filter_map(|source| object::<SourceNames<'_>>(source)?.secret_key_ref);
            for name in secrets.filter_map(|secret| object::<Named<'_>>(secret)?.name) {
                places.whole(name);
            }
        }
        places.token_volumes(spec);
        Some(places.template(uid, if has_name { of_request } else { of_pod }))
    }

    /// The text with blank names.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity() + self.names.capacity() * size_of::<Name>()
    }

    /// Whether a review has this template: its text is equal, but for names of the same length.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        if text.len() != self.text.len() {
            return false;
        }
        let token_volume = self.token_volume.as_ref().map(|place| &text[place.clone()]);
        let mut end = 0;
        for name in &self.names {
            let place = name.range();
            let between = end..place.start;
            end = place.end;
            let found = &text[place];
            if !is_equal(&self.text[between.clone()], &text[between])
                || !found.iter().all(is_of_name)
                || name.is_token_volume && Some(found) != token_volume
            {
                return false;
            }
        }
        is_equal(&self.text[end..], &text[end..])
    }
}

/// Whether two texts of one length are equal. (musl's `memcmp` compares single bytes.)
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    a.iter().zip(b).all(|(a, b)| a == b) && last_a.iter().zip(last_b).all(|(a, b)| a == b)
}

/// Whether the character may be in a name. JSON escapes none of them, and none of them has a meaning in a variable's value.
fn is_of_name(byte: &u8) -> bool {
    const IN_NAME: [bool; 256] = {
        let (mut table, mut byte) = ([false; 256], 0);
        while byte < 256 {
            table[byte] = matches!(byte as u8, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b':' | b'_');
            byte += 1;
        }
        table
    };
    IN_NAME[usize::from(*byte)]
}

/// Collects the places of names in a review's text.
struct Places<'a> {
    text: &'a [u8],
    names: Vec<Name>,
    token_volume: Option<Range<usize>>,
}

impl<'a> Places<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            names: Vec::new(),
            token_volume: None,
        }
    }

    /// Where a value of the text is.
    fn place(&self, value: &RawValue) -> Range<usize> {
        let value = value.get();
        let begin = value.as_ptr() as usize - self.text.as_ptr() as usize;
        begin..begin + value.len()
    }

    fn add(&mut self, place: &Range<usize>, is_token_volume: bool) {
        self.names.push(Name {
            begin: place.start as u32,
            end: place.end as u32,
            is_token_volume,
        });
    }

    /// Adds a value that is a name. None: the value is something else, and stays as it is.
    fn whole(&mut self, value: &RawValue) -> Option<Range<usize>> {
        let name = value.get().strip_prefix('"')?.strip_suffix('"')?;
        if name.is_empty() || !name.bytes().all(|byte| is_of_name(&byte)) {
            return None;
        }
        let Range { start, end } = self.place(value);
        let place = start + 1..end - 1;
        self.add(&place, false);
        Some(place)
    }

    /// Adds all parts of a value's texts that are names.
    fn parts(&mut self, value: &RawValue) {
        let place = self.place(value);
        let (mut at, mut is_text) = (place.start, false);
        while at < place.end {
            match self.text[at] {
                b'"' => is_text = !is_text,
                // `\u` and its four digits.
                b'\\' if self.text.get(at + 1) == Some(&b'u') => at += 5,
                b'\\' => at += 1,
                byte if is_text && is_of_name(&byte) => {
                    let length = self.text[at..].iter().take_while(|byte| is_of_name(byte)).count();
                    self.add(&(at..at + length), false);
                    at += length - 1;
                }
                _ => (),
            }
            at += 1;
        }
    }

    /// Adds the name of the token volume, wherever volumes are named, if the text has this name nowhere else. A volume's name with
    /// an escape could be this name too.
    fn token_volumes(&mut self, spec: &SpecNames<'_>) {
        let containers = [&spec.init_containers, &spec.containers];
        let containers = containers.into_iter().flatten().flatten();
        let used = containers.flat_map(|container| [&container.volume_mounts, &container.volume_devices]);
        let lists = used.chain([&spec.volumes]).flatten().flatten();
        let names: Vec<_> = lists.filter_map(|named| named.name).collect();
        if names.iter().any(|name| name.get().contains('\\')) {
            return;
        }
        let suffixes: Vec<_> = names
            .into_iter()
            .filter_map(|name| self.token_volume_suffix(name))
            .collect();
        let prefix = TOKEN_VOLUME_PREFIX.as_bytes();
        let found = self.text.windows(prefix.len()).filter(|part| *part == prefix).count();
        let are_equal = suffixes
            .windows(2)
            .all(|two| self.text[two[0].clone()] == self.text[two[1].clone()]);
        if found == suffixes.len() && are_equal {
            suffixes.iter().for_each(|place| self.add(place, true));
            self.token_volume = suffixes.into_iter().next();
        }
    }

    fn token_volume_suffix(&self, name: &RawValue) -> Option<Range<usize>> {
        let suffix = name
            .get()
            .strip_prefix('"')?
            .strip_suffix('"')?
            .strip_prefix(TOKEN_VOLUME_PREFIX)?;
        let is_suffix = suffix.len() == TOKEN_VOLUME_SUFFIX_BYTES && suffix.bytes().all(|byte| is_of_name(&byte));
        let end = self.place(name).end - 1;
        is_suffix.then(|| end - TOKEN_VOLUME_SUFFIX_BYTES..end)
    }

    fn template(mut self, uid: Range<usize>, pod_name: Option<Range<usize>>) -> Template {
        self.names.sort_unstable_by_key(|name| name.begin);
        self.names.shrink_to_fit();
        let mut text = self.text.to_vec();
        for name in &self.names {
            text[name.range()].fill(BLANK);
        }
        Template {
            text,
            names: self.names,
            uid,
            pod_name,
            token_volume: self.token_volume,
        }
    }
}

/// The names in a review that no decision depends on: names of the request, the pod, its owners, the Secrets of its variables, the
/// volume of its token, and everything that the API server notes in `managedFields`.
///
/// A field that a decision begins to depend on must leave this list. The test
/// `no_decision_depends_on_a_name_that_a_template_leaves_out` holds the list against the decisions.
#[derive(Deserialize)]
struct ReviewNames<'a> {
    #[serde(borrow)]
    request: RequestNames<'a>,
}

/// Parses an object. serde also takes a list for a struct: its items would be the fields in the struct's order, which is another
/// order in the types that the decision reads.
fn object<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Option<T> {
    let is_object = json.get().starts_with('{');
    is_object.then(|| serde_json::from_str(json.get()).ok())?
}

#[derive(Deserialize)]
struct RequestNames<'a> {
    #[serde(borrow)]
    uid: &'a RawValue,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    object: PodNames<'a>,
}

#[derive(Deserialize)]
struct PodNames<'a> {
    /// [`MetadataNames`].
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow)]
    spec: SpecNames<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataNames<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    owner_references: Option<Vec<OwnerNames<'a>>>,
    #[serde(borrow, default)]
    managed_fields: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OwnerNames<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uid: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecNames<'a> {
    #[serde(borrow, default)]
    volumes: Option<Vec<Named<'a>>>,
    #[serde(borrow, default)]
    init_containers: Option<Vec<ContainerNames<'a>>>,
    #[serde(borrow, default)]
    containers: Option<Vec<ContainerNames<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerNames<'a> {
    #[serde(borrow, default)]
    env: Option<Vec<VariableNames<'a>>>,
    #[serde(borrow, default)]
    volume_mounts: Option<Vec<Named<'a>>>,
    #[serde(borrow, default)]
    volume_devices: Option<Vec<Named<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VariableNames<'a> {
    /// [`SourceNames`].
    #[serde(borrow, default)]
    value_from: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceNames<'a> {
    /// [`Named`].
    #[serde(borrow, default)]
    secret_key_ref: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
}
