//! Paths that the pod's author wrote, as the kubelet and Linux read them.

/// The path as Linux reads it: absolute, without double or final slashes, without `.` and `..`.
pub(crate) fn normalized(path: &str) -> String {
    let mut normal = String::with_capacity(path.len() + 1);
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
            segment => {
                normal.push('/');
                normal.push_str(segment);
            }
        }
    }
    if normal.is_empty() {
        normal.push('/');
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_linux_reads_them() {
        for (written, read) in [
            ("/a/b", "/a/b"),
            ("a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", "/"),
            ("", "/"),
            ("/", "/"),
            ("/..a/b..", "/..a/b.."),
        ] {
            assert_eq!(normalized(written), read, "{written}");
        }
    }
}
