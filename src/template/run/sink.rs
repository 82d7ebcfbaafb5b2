//! A buffer that does not grow past its limit.

use crate::template::error::Fault;

/// Bytes that are being made. What is written past the limit is dropped, and [`Sink::finish`] fails.
pub(crate) struct Sink {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Sink {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            full: false,
        }
    }

    pub(crate) fn push(&mut self, byte: u8) {
        if self.bytes.len() < self.limit {
            self.bytes.push(byte);
        } else {
            self.full = true;
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if bytes.len() <= self.limit - self.bytes.len() {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.full = true;
        }
    }

    pub(crate) fn str(&mut self, text: &str) {
        self.write(text.as_bytes());
    }

    pub(crate) fn char(&mut self, c: char) {
        self.str(c.encode_utf8(&mut [0; 4]));
    }

    pub(crate) fn repeat(&mut self, byte: u8, count: usize) {
        if count <= self.limit - self.bytes.len() {
            self.bytes.resize(self.bytes.len() + count, byte);
        } else {
            self.full = true;
        }
    }

    pub(crate) fn full(&self) -> bool {
        self.full
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, Fault> {
        if self.full {
            return Err(Fault::bound(format!(
                "the text that is made here has more than {} bytes",
                self.limit
            )));
        }
        Ok(self.bytes)
    }
}
