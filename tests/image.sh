#!/usr/bin/env bash
# Builds the image from the Dockerfile with buildah, for amd64 and arm64, and looks into it. Needs root.
#
# What is run: every instruction of the Dockerfile, by a real builder, the final stage's included.
# What is not: the pull of the base image, since there may be no registry. In its place stands an empty image, through which
# the build stage sees this machine's own /usr, /etc and Rust, mounted read-only or as caches. So that the rust:…-bookworm
# image has what the build stage needs is not shown here, nor is a push or a manifest list.
# Nor that a builder takes the build stage for its own platform: buildah 1.28 does not (see below).
# The programs are started in the image: the amd64 ones by buildah, the arm64 ones from its files by qemu.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() { echo "image: NOT tested: $1" >&2; exit 0; }
fail() { echo "image: $1" >&2; exit 1; }

[[ $(uname -sm) == "Linux x86_64" ]] || skip "the stand-in for the base image is made on Linux on amd64"
[[ $(id -u) == 0 ]] || skip "buildah needs root here"
.ci/tools buildah || skip "no buildah"
.ci/tools zig qemu

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# As `make programs` names the commit.
commit=${PODKEY_COMMIT:-$(git rev-parse HEAD 2>/dev/null || true)}
tools=$(realpath .tools)
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo_home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
rustup_home=$(rustup show home)
work=$(mktemp -d)
# Its own storage, so that nobody's images are touched and nothing is left.
buildah() { "$tools/bin/buildah" --storage-driver vfs --root "$work/root" --runroot "$work/run" "$@"; }
trap 'buildah rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

# The stand-in: an empty root with Debian's links into /usr, and the environment that the Rust image sets.
base=$(buildah from scratch)
mnt=$(buildah mount "$base")
mkdir -p "$mnt"/{usr,etc,tmp,root,src} "$mnt$cargo_home" "$mnt$rustup_home" "$mnt$tools" "$mnt$target"
chmod 1777 "$mnt/tmp"
# At their own paths, so that cargo finds what `make dist` has built already.
ln -s "$tools" "$mnt/src/.tools"
ln -s "$target" "$mnt/src/target"
for dir in bin sbin lib lib64; do [[ ! -L /$dir ]] || ln -s "usr/$dir" "$mnt/$dir"; done
buildah umount "$base" >/dev/null
buildah config --env "CARGO_HOME=$cargo_home" --env "RUSTUP_HOME=$rustup_home" --env "HOME=/root" \
    --env "PATH=$cargo_home/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" "$base"

for arch in amd64 arm64; do
    # buildah 1.28 wants the base image to be of the target's platform, also where FROM says --platform=$BUILDPLATFORM.
    buildah config --arch "$arch" "$base"
    buildah commit --quiet "$base" localhost/rust-here >/dev/null
    image=localhost/podkey:test-$arch
    buildah build --quiet --isolation chroot --pull-never --platform "linux/$arch" --tag "$image" \
        --volume /usr:/usr:ro --volume /etc:/etc:ro --volume "$cargo_home:$cargo_home" \
        --volume "$rustup_home:$rustup_home" --volume "$tools:$tools" --volume "$target:$target" \
        --build-arg RUST_IMAGE=localhost/rust-here --build-arg "VERSION=$version" --build-arg "PODKEY_COMMIT=$commit" . >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the Dockerfile fails"; }

    container=$(buildah from --pull-never --platform "linux/$arch" "$image")
    mnt=$(buildah mount "$container")
    buildah inspect --type image "$image" | python3 -c 'import json, sys; json.dump(json.load(sys.stdin)["OCIv1"], sys.stdout)' >"$work/config"
    tests/image-contents "$mnt" "$work/config" "$arch" "$version"
    for path in /bin/podkey /podkey-agent; do
        program=${path##*/}
        if [[ $arch == amd64 ]]; then
            says=$(buildah run --isolation chroot --user 65532:65532 "$container" -- "$path" --version)
        else
            says=$("$tools/bin/qemu-aarch64-static" "$mnt$path" --version)
        fi
        [[ $says == "$program $version" ]] || fail "$arch: $program --version says '$says'"
    done
    echo "image: linux/$arch is fine, $(du -sk --apparent-size "$mnt" | cut -f1) KiB"
    buildah rm "$container" >/dev/null
done
