# shellcheck shell=bash
# shellcheck disable=SC2154  # root is of lib.sh, work of whoever sources this
# Emulated machines on Debian's own kernel. Sourced after lib.sh, with a folder `work` that is removed at the end.

# Sets `package` to the kernel's and `kernel` to the folder where it is unpacked: downloaded and not installed, for it is for the emulated machines
# alone. Kept beside what cargo builds.
vm_kernel() {
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)$/\1/p' | head -1)
  [ -n "$package" ] || fail "this distribution has no linux-image-cloud-amd64"
  kernel=$(target_dir)/vm/$package
  [ ! -d "$kernel" ] || return 0
  mkdir "$work/kernel"
  (cd "$work" && apt-get download "$package" >"$work/apt" 2>&1) || { cat "$work/apt"; fail "$package cannot be downloaded"; }
  dpkg-deb --extract "$work/$package"_*.deb "$work/kernel"
  mkdir -p "$(dirname "$kernel")"
  rm -rf -- "$(dirname "$kernel")"/*
  mv "$work/kernel" "$kernel"
}

# A machine's own modules, plain: the kernels of later releases come with compressed ones.
add_modules() {
  local folder=$1 module file
  shift
  for module in "$@"; do
    file=$(find "$kernel/lib/modules" -name "$module.ko*" | head -1)
    # No such file: it is part of the kernel itself.
    case "$file" in
      *.ko) cp "$file" "$folder/" ;;
      *.ko.xz) xz --decompress --stdout "$file" >"$folder/$module.ko" ;;
      *.ko.zst) zstd --quiet --decompress --stdout "$file" >"$folder/$module.ko" ;;
    esac
  done
}

# Writes to $1 what comes before the disk can be read, and ends in its program $2.
vm_initrd() {
  local early=$work/early
  # In the order in which they need one another.
  local virtio=(virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk)
  mkdir -p "$early"/{bin,dev,proc,root,modules}
  cp "$(command -v busybox)" "$early/bin/busybox"
  add_modules "$early/modules" "${virtio[@]}"
  cat >"$early/init" <<INIT
#!/bin/busybox sh
b=/bin/busybox
\$b mount -t devtmpfs dev /dev
for module in ${virtio[*]}; do
  [ ! -e /modules/\$module.ko ] || \$b insmod /modules/\$module.ko
done
\$b mount -t ext4 /dev/vda /root
\$b umount /dev
exec \$b switch_root /root $2
INIT
  chmod +x "$early/init"
  (cd "$early" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$1"
}
