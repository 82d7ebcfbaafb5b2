//! How long a pod's lists may be: where two lists are compared with each other, each has an end. The lists end where no
//! cluster's would, and what is beyond is not even kept while a pod is read. `exceeds` refuses such a pod.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

use crate::plan::MAX_FILES;

/// Each of them may get a mount for each file, and the patch holds them all.
pub(crate) const CONTAINERS: usize = 256;
pub(crate) const VOLUMES: usize = 1000;
/// Of all containers together: each is compared with each file.
pub(crate) const MOUNTS: usize = 10_000;
pub(crate) const DEVICES: usize = 1000;
/// All that the containers run, in bytes, which is read word by word.
pub(crate) const COMMANDS: usize = 1024 * 1024;

/// What we add does not count, or a pod at the limit would be refused on our second visit.
pub(crate) const OUR_CONTAINERS: usize = 2;
pub(crate) const OUR_VOLUMES: usize = 4;
/// In one container: a mount for each file, that of the directory, that of the agent.
pub(crate) const OUR_MOUNTS: usize = MAX_FILES + 2;

/// The most items of each list that are kept when a pod is read: one more than any pod may have.
pub(crate) const MOST_CONTAINERS: usize = CONTAINERS + OUR_CONTAINERS + 1;
pub(crate) const MOST_VOLUMES: usize = VOLUMES + OUR_VOLUMES + 1;
pub(crate) const MOST_MOUNTS: usize = MOUNTS + OUR_MOUNTS + 1;
pub(crate) const MOST_DEVICES: usize = DEVICES + 1;

/// All mounts and devices of the containers of one list. A list that is cut there holds more than any pod may have.
pub(crate) const MOST_INNER: usize = MOUNTS + DEVICES + OUR_MOUNTS * (CONTAINERS + OUR_CONTAINERS);

/// A list of which the first `MOST` items are kept, and the rest passed over: a byte of a pod must not become a hundred of
/// memory.
#[derive(Debug)]
pub struct Items<T, const MOST: usize>(Vec<T>);

/// What an item brings with it: the lists of all containers must have an end together, not only each for itself.
pub(crate) trait Holds {
    /// How many items of its own it has.
    fn inner(&self) -> usize {
        0
    }
}

impl<T, const MOST: usize> Deref for Items<T, MOST> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'i, T, const MOST: usize> IntoIterator for &'i Items<T, MOST> {
    type Item = &'i T;
    type IntoIter = std::slice::Iter<'i, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[allow(private_bounds, reason = "only the pod's own lists are kept so")]
impl<'de, T: Deserialize<'de> + Holds, const MOST: usize> Deserialize<'de> for Items<T, MOST> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Holds, const MOST: usize> Visitor<'de> for ItemsVisitor<T, MOST> {
            type Value = Items<T, MOST>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
                let (mut kept, mut inner) = (Vec::new(), 0);
                while kept.len() < MOST && inner <= MOST_INNER {
                    match items.next_element::<T>()? {
                        Some(item) => {
                            inner += item.inner();
                            kept.push(item);
                        }
                        None => return Ok(Items(kept)),
                    }
                }
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Items(kept))
            }
        }
        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}
