//! A list of the pod that keeps a bounded number of items: one byte of a pod must not become a hundred bytes of memory.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

use crate::inject::pod::limits::MOST_INNER;

/// The first `MOST` items of a list. The other items are not kept. `limits` refuses a pod with a list that is cut.
#[derive(Debug)]
pub(crate) struct BoundedList<T, const MOST: usize>(Vec<T>);

/// An item of a [`BoundedList`].
pub(super) trait ListItem {
    /// The number of items in the item's own lists. The inner lists of all items have a limit together, [`MOST_INNER`].
    fn inner_items(&self) -> usize {
        0
    }
}

impl<T, const MOST: usize> Deref for BoundedList<T, MOST> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'i, T, const MOST: usize> IntoIterator for &'i BoundedList<T, MOST> {
    type Item = &'i T;
    type IntoIter = std::slice::Iter<'i, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[allow(private_bounds, reason = "only the pod's own lists have this type")]
impl<'de, T: Deserialize<'de> + ListItem, const MOST: usize> Deserialize<'de> for BoundedList<T, MOST> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + ListItem, const MOST: usize> Visitor<'de> for ListVisitor<T, MOST> {
            type Value = BoundedList<T, MOST>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
                let (mut kept, mut inner) = (Vec::new(), 0);
                while kept.len() < MOST && inner <= MOST_INNER {
                    match items.next_element::<T>()? {
                        Some(item) => {
                            inner += item.inner_items();
                            kept.push(item);
                        }
                        None => return Ok(BoundedList(kept)),
                    }
                }
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(BoundedList(kept))
            }
        }
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}
