/* One system call at a time, from inside a container: what does the kernel answer?
 *
 *   probe calls            every call of the table below, one line each: `name RESULT`, RESULT is OK, an errno's name or a signal's
 *   probe families         socket() for each address family and type that opens: `family type`
 *   probe eat BYTES        touches that much memory, says so, and waits
 *   probe shm-make KEY | shm-find KEY      a System V shared memory segment
 *   probe fds              the open descriptors of this process and what they are
 *   probe hold PID         traces that process, kills it and waits for nothing: a zombie that its parent cannot reap
 *   probe bomb             forks for ever, and so do its children; goes on where it is refused
 *
 * Not a part of Berth: the tests compile it without shared libraries and put it into an image.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Numbers newer than the headers of the oldest distribution we build on. */
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#define NR_OPEN_TREE_ATTR 467
#define NR_MSEAL 462
#define X32_BIT 0x40000000

static long do_mount(void) { return mount("none", "/tmp", "tmpfs", 0, NULL); }
static long do_umount(void) { return umount2("/proc", MNT_DETACH); }
static long do_fsopen(void) { return syscall(SYS_fsopen, "tmpfs", 0); }
static long do_fsmount(void) { return syscall(SYS_fsmount, -1, 0, 0); }
static long do_move_mount(void) { return syscall(SYS_move_mount, -1, "", -1, "", 0); }
static long do_mount_setattr(void) { return syscall(SYS_mount_setattr, -1, "", 0, NULL, 0); }
static long do_open_tree(void) { return syscall(SYS_open_tree, AT_FDCWD, "/", 1); }
static long do_open_tree_attr(void) { return syscall(NR_OPEN_TREE_ATTR, -1, "", 0, NULL, 0); }
static long do_pivot_root(void) { return syscall(SYS_pivot_root, "/", "/"); }
static long do_chroot(void) { return chroot("/"); }

static long do_unshare_user(void) { return unshare(CLONE_NEWUSER); }
static long do_unshare_mnt(void) { return unshare(CLONE_NEWNS); }
static long do_unshare_net(void) { return unshare(CLONE_NEWNET); }
static long do_unshare_pid(void) { return unshare(CLONE_NEWPID); }
static long do_unshare_ipc(void) { return unshare(CLONE_NEWIPC); }
static long do_unshare_uts(void) { return unshare(CLONE_NEWUTS); }
static long do_unshare_cgroup(void) { return unshare(CLONE_NEWCGROUP); }
static long do_clone(unsigned long flags) {
  long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid((pid_t)pid, NULL, 0);
  return pid;
}
static long do_clone_plain(void) { return do_clone(0); }
static long do_clone_user(void) { return do_clone(CLONE_NEWUSER); }
static long do_clone_mnt(void) { return do_clone(CLONE_NEWNS); }
static long do_clone_net(void) { return do_clone(CLONE_NEWNET); }
static long do_clone_pid(void) { return do_clone(CLONE_NEWPID); }
static long do_clone3(void) {
  uint64_t arguments[8] = {0};
  arguments[4] = SIGCHLD;
  long pid = syscall(SYS_clone3, arguments, sizeof arguments);
  if (pid == 0) _exit(0);
  return pid;
}
static long do_setns(void) {
  int fd = open("/proc/self/ns/uts", O_RDONLY);
  return fd < 0 ? fd : setns(fd, 0);
}

static long do_bpf(void) { return syscall(SYS_bpf, 0, NULL, 0); }
static long do_perf(void) { return syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0); }
static long do_userfaultfd(void) { return syscall(SYS_userfaultfd, 0); }
static long do_keyctl(void) { return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1); }
static long do_add_key(void) { return syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_PROCESS_KEYRING); }
static long do_request_key(void) { return syscall(SYS_request_key, "user", "probe", NULL, 0); }
static long do_io_uring_setup(void) { return syscall(SYS_io_uring_setup, 1, NULL); }
static long do_io_uring_enter(void) { return syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0); }
static long do_io_uring_register(void) { return syscall(SYS_io_uring_register, -1, 0, NULL, 0); }
static long do_ptrace(void) { return ptrace(PTRACE_TRACEME, 0, NULL, NULL); }
static long do_pidfd_getfd(void) { return syscall(SYS_pidfd_getfd, -1, 0, 0); }
static long do_kcmp(void) { return syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0); }
static long do_open_by_handle_at(void) {
  struct { struct file_handle handle; unsigned char bytes[8]; } h = {.handle = {.handle_bytes = 8, .handle_type = 1}};
  return open_by_handle_at(AT_FDCWD, &h.handle, O_RDONLY);
}
static long do_name_to_handle_at(void) {
  struct { struct file_handle handle; unsigned char bytes[MAX_HANDLE_SZ]; } h = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
  int mount_id;
  return name_to_handle_at(AT_FDCWD, "/", &h.handle, &mount_id, 0);
}
static long do_sethostname(void) { return sethostname("probe", 5); }
static long do_setdomainname(void) { return setdomainname("probe", 5); }
static long do_mknod(mode_t kind, unsigned major_number, unsigned minor_number) {
  long result = mknod("/tmp/probe-node", kind | 0600, makedev(major_number, minor_number));
  int saved = errno;
  unlink("/tmp/probe-node");
  errno = saved;
  return result;
}
static long do_mknod_char(void) { return do_mknod(S_IFCHR, 1, 1); }
static long do_mknod_block(void) { return do_mknod(S_IFBLK, 254, 0); }

static long do_kexec_load(void) { return syscall(SYS_kexec_load, 0, 0, NULL, 0); }
static long do_kexec_file_load(void) { return syscall(SYS_kexec_file_load, -1, -1, 0, NULL, 0); }
static long do_init_module(void) { return syscall(SYS_init_module, NULL, 0, ""); }
static long do_finit_module(void) { return syscall(SYS_finit_module, -1, "", 0); }
static long do_delete_module(void) { return syscall(SYS_delete_module, "probe-none", 0); }
/* A bad magic number: even if it got through, the machine would not go down. */
static long do_reboot(void) { return syscall(SYS_reboot, 0, 0, 0, NULL); }
static long do_swapon(void) { return syscall(SYS_swapon, "/probe-none", 0); }
static long do_swapoff(void) { return syscall(SYS_swapoff, "/probe-none"); }
static long do_acct(void) { return syscall(SYS_acct, "/probe-none"); }
static long do_settimeofday(void) { return syscall(SYS_settimeofday, NULL, NULL) ? -1 : 0; }
static long do_clock_settime(void) {
  struct timespec never = {.tv_sec = -1};
  return syscall(SYS_clock_settime, CLOCK_REALTIME, &never);
}
static long do_clock_adjtime(void) {
  struct timex change = {.modes = ADJ_TICK, .tick = -1};
  return syscall(SYS_clock_adjtime, CLOCK_REALTIME, &change);
}
static long do_syslog(void) {
  char buffer[16];
  return syscall(SYS_syslog, 3, buffer, sizeof buffer);
}
static long do_quotactl(void) { return syscall(SYS_quotactl, 0, NULL, 0, NULL); }
static long do_lookup_dcookie(void) { return syscall(212, 0, NULL, 0); }
static long do_fanotify_init(void) { return syscall(SYS_fanotify_init, 0, 0); }
static long do_vmsplice(void) {
  int ends[2];
  char byte = 0;
  struct iovec piece = {&byte, 1};
  return pipe(ends) ? -1 : vmsplice(ends[1], &piece, 1, 0);
}
static long do_mbind(void) { return syscall(SYS_mbind, NULL, 0, 0, NULL, 0, 0); }
static long do_set_mempolicy(void) { return syscall(SYS_set_mempolicy, 0, NULL, 0); }
static long do_move_pages(void) { return syscall(SYS_move_pages, 1, 0, NULL, NULL, NULL, 0); }
static long do_personality_query(void) { return personality(0xffffffff); }
static long do_personality_linux(void) { return personality(0); }
static long do_personality_other(void) { return personality(0x0400000 /* ADDR_COMPAT_LAYOUT, x */ | 0x11); }

static long do_socket(int family, int type, int protocol) { return socket(family, type, protocol); }
static long do_af_unix(void) { return do_socket(AF_UNIX, SOCK_STREAM, 0); }
static long do_af_inet(void) { return do_socket(AF_INET, SOCK_STREAM, 0); }
static long do_af_inet6(void) { return do_socket(AF_INET6, SOCK_DGRAM, 0); }
static long do_netlink_route(void) { return do_socket(AF_NETLINK, SOCK_RAW, 0); }
static long do_af_alg(void) { return do_socket(38, SOCK_SEQPACKET, 0); }
static long do_af_vsock(void) { return do_socket(40, SOCK_STREAM, 0); }
static long do_af_xdp(void) { return do_socket(44, SOCK_RAW, 0); }
static long do_af_packet(void) { return do_socket(AF_PACKET, SOCK_RAW, 0); }
static long do_raw_icmp(void) { return do_socket(AF_INET, SOCK_RAW, 1); }
static long do_af_tipc(void) { return do_socket(30, SOCK_RDM, 0); }
static long do_af_rds(void) { return do_socket(21, SOCK_SEQPACKET, 0); }

static long do_getrandom(void) {
  char byte;
  return syscall(SYS_getrandom, &byte, 1, 0);
}
static long do_openat2(void) {
  uint64_t how[3] = {O_RDONLY};
  return syscall(SYS_openat2, AT_FDCWD, "/", how, sizeof how);
}
static long do_memfd(void) { return syscall(SYS_memfd_create, "probe", 0); }
static long do_landlock(void) { return syscall(444, NULL, 0, 1); }
static long do_unknown(void) { return syscall(999); }
static long do_far_unknown(void) { return syscall(500000); }
static long do_setuid_roundtrip(void) { return setuid(getuid()); }

#ifdef __x86_64__
/* The 32-bit entry: other numbers, other arguments, the hole in most published filters. */
static long compat(long number, long first, long second) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second) : "memory", "r8", "r9", "r10", "r11");
  if (result < 0 && result > -4096) {
    errno = (int)-result;
    return -1;
  }
  return result;
}
static long do_modify_ldt(void) { return syscall(SYS_modify_ldt, 0, NULL, 0); }
static long do_iopl(void) { return syscall(SYS_iopl, 3); }
static long do_ioperm(void) { return syscall(SYS_ioperm, 0, 1, 1); }
static long do_i386_getpid(void) { return compat(20, 0, 0); }
static long do_i386_unshare(void) { return compat(310, CLONE_NEWUSER, 0); }
static long do_i386_socket_alg(void) { return compat(359, 38, SOCK_SEQPACKET); }
static long do_x32_getpid(void) { return syscall(X32_BIT | SYS_getpid); }
#endif

static const struct {
  const char *name;
  long (*call)(void);
} calls[] = {
    {"mount", do_mount}, {"umount2", do_umount}, {"fsopen", do_fsopen}, {"fsmount", do_fsmount}, {"move_mount", do_move_mount},
    {"mount_setattr", do_mount_setattr}, {"open_tree", do_open_tree}, {"open_tree_attr", do_open_tree_attr}, {"pivot_root", do_pivot_root},
    {"chroot", do_chroot}, {"unshare-user", do_unshare_user}, {"unshare-mnt", do_unshare_mnt}, {"unshare-net", do_unshare_net},
    {"unshare-pid", do_unshare_pid}, {"unshare-ipc", do_unshare_ipc}, {"unshare-uts", do_unshare_uts}, {"unshare-cgroup", do_unshare_cgroup},
    {"clone", do_clone_plain}, {"clone-user", do_clone_user}, {"clone-mnt", do_clone_mnt}, {"clone-net", do_clone_net},
    {"clone-pid", do_clone_pid}, {"clone3", do_clone3}, {"setns", do_setns}, {"bpf", do_bpf}, {"perf_event_open", do_perf},
    {"userfaultfd", do_userfaultfd}, {"keyctl", do_keyctl}, {"add_key", do_add_key}, {"request_key", do_request_key},
    {"io_uring_setup", do_io_uring_setup}, {"io_uring_enter", do_io_uring_enter}, {"io_uring_register", do_io_uring_register},
    {"ptrace", do_ptrace}, {"pidfd_getfd", do_pidfd_getfd}, {"kcmp", do_kcmp}, {"open_by_handle_at", do_open_by_handle_at},
    {"name_to_handle_at", do_name_to_handle_at}, {"sethostname", do_sethostname}, {"setdomainname", do_setdomainname},
    {"mknod-char", do_mknod_char}, {"mknod-block", do_mknod_block}, {"kexec_load", do_kexec_load}, {"kexec_file_load", do_kexec_file_load},
    {"init_module", do_init_module}, {"finit_module", do_finit_module}, {"delete_module", do_delete_module}, {"reboot", do_reboot},
    {"swapon", do_swapon}, {"swapoff", do_swapoff}, {"acct", do_acct}, {"settimeofday", do_settimeofday},
    {"clock_settime", do_clock_settime}, {"clock_adjtime", do_clock_adjtime}, {"syslog", do_syslog}, {"quotactl", do_quotactl},
    {"lookup_dcookie", do_lookup_dcookie}, {"fanotify_init", do_fanotify_init}, {"vmsplice", do_vmsplice}, {"mbind", do_mbind},
    {"set_mempolicy", do_set_mempolicy}, {"move_pages", do_move_pages}, {"personality-query", do_personality_query},
    {"personality-linux", do_personality_linux}, {"personality-other", do_personality_other}, {"af-unix", do_af_unix},
    {"af-inet", do_af_inet}, {"af-inet6", do_af_inet6}, {"netlink-route", do_netlink_route}, {"af-alg", do_af_alg},
    {"af-vsock", do_af_vsock}, {"af-xdp", do_af_xdp}, {"af-packet", do_af_packet}, {"raw-icmp", do_raw_icmp}, {"af-tipc", do_af_tipc},
    {"af-rds", do_af_rds}, {"getrandom", do_getrandom}, {"openat2", do_openat2}, {"memfd_create", do_memfd},
    {"landlock", do_landlock}, {"unknown", do_unknown}, {"far-unknown", do_far_unknown}, {"setuid", do_setuid_roundtrip},
#ifdef __x86_64__
    {"modify_ldt", do_modify_ldt}, {"iopl", do_iopl}, {"ioperm", do_ioperm}, {"i386-getpid", do_i386_getpid},
    {"i386-unshare", do_i386_unshare}, {"i386-socket-alg", do_i386_socket_alg}, {"x32-getpid", do_x32_getpid},
#endif
};

/* In a child: some calls change the caller, and a filter may kill it. */
static void report(const char *name, long (*call)(void)) {
  pid_t child = fork();
  if (child == 0) {
    errno = 0;
    long result = call();
    _exit(result < 0 ? errno & 0xff : 0);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) < 0) {
    printf("%s fork: %s\n", name, strerrorname_np(errno));
  } else if (WIFSIGNALED(status)) {
    printf("%s SIG%s\n", name, sigabbrev_np(WTERMSIG(status)));
  } else {
    printf("%s %s\n", name, WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "OK");
  }
}

static void families(void) {
  static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
  for (int family = 0; family < 64; family++) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
      int fd = socket(family, types[i], 0);
      if (fd >= 0) {
        printf("%d %d\n", family, types[i]);
        close(fd);
      }
    }
  }
}

static void eat(size_t bytes) {
  char *memory = malloc(bytes);
  if (!memory) {
    printf("malloc %s\n", strerrorname_np(errno));
    exit(3);
  }
  for (size_t at = 0; at < bytes; at += 4096) memory[at] = 1;
  printf("ate %zu\n", bytes);
  fflush(stdout);
  pause();
}

static void fds(void) {
  DIR *folder = opendir("/proc/self/fd");
  struct dirent *entry;
  while (folder && (entry = readdir(folder))) {
    char target[512] = "";
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(folder)) continue;
    if (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) < 0) continue;
    printf("%s %s\n", entry->d_name, target);
  }
}

int main(int argc, char **argv) {
  const char *verb = argc > 1 ? argv[1] : "";
  const char *argument = argc > 2 ? argv[2] : "0";
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (!strcmp(verb, "calls")) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
      fflush(stdout);
      report(calls[i].name, calls[i].call);
    }
  } else if (!strcmp(verb, "families")) {
    families();
  } else if (!strcmp(verb, "eat")) {
    eat(strtoull(argument, NULL, 10));
  } else if (!strcmp(verb, "shm-make")) {
    int id = shmget((key_t)strtol(argument, NULL, 10), 4096, IPC_CREAT | IPC_EXCL | 0666);
    printf("%s\n", id < 0 ? strerrorname_np(errno) : "made");
  } else if (!strcmp(verb, "shm-find")) {
    int id = shmget((key_t)strtol(argument, NULL, 10), 4096, 0);
    printf("%s\n", id < 0 ? strerrorname_np(errno) : "found");
  } else if (!strcmp(verb, "fds")) {
    fds();
  } else if (!strcmp(verb, "hold")) {
    pid_t pid = (pid_t)strtol(argument, NULL, 10);
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) || kill(pid, SIGKILL)) {
      printf("%s\n", strerrorname_np(errno));
      return 1;
    }
    printf("held\n");
    for (;;) pause();
  } else if (!strcmp(verb, "bomb")) {
    printf("lit\n");
    for (;;) {
      if (fork() < 0) usleep(1000);
    }
  } else {
    fprintf(stderr, "probe: see the top of probe.c\n");
    return 2;
  }
  return 0;
}
