/* The bare floor: the least that a kernel can be asked for a container, without anything around it.
 *
 *   floor ROOTFS SCRATCH [CGROUP-FOLDER...]
 *   floor --run PROGRAM [ARGUMENT...]
 *   floor --exec PROGRAM [ARGUMENT...]
 *
 * For each line on standard input it makes one container and prints how long that took in nanoseconds: a child in new pid, mount, UTS, IPC, cgroup and
 * network namespaces (clone3), an overlay over ROOTFS, /proc, pivot_root, /bin/true, wait, unmount. With CGROUP-FOLDERs (of v1 hierarchies) also a
 * cgroup in each, joined before exec and removed afterwards. What Berth does beyond this, it has to account for.
 *
 * With --run it times PROGRAM instead (another runtime), from fork to exit, by the same clock. The v2 tree of a hybrid host is hidden from it: crun 1.8
 * refuses to run where that tree has a controller. --exec only hides it and becomes PROGRAM: a daemon that starts crun.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *rootfs, *scratch;
static char upper[512], work[512], merged[512];

static void die(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void need(int result, const char *what) {
  if (result != 0) die(what);
}

static void child(int gate) {
  char options[2048], byte;
  /* The parent has put us into the cgroups when the other end is closed. */
  if (read(gate, &byte, 1) != 0) die("gate");
  need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private /");
  snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", rootfs, upper, work);
  need(mount("overlay", merged, "overlay", 0, options), "overlay");
  need(chdir(merged), "chdir");
  need(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
  need((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
  need(umount2(".", MNT_DETACH), "umount");
  execl("/bin/true", "true", (char *)NULL);
  die("exec /bin/true");
}

static void put(const char *folder, const char *file, const char *text) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
  close(fd);
}

/* cpuset wants its two files filled before it takes a process. */
static void fill_cpuset(const char *parent, const char *folder) {
  static const char *files[] = {"cpuset.cpus", "cpuset.mems"};
  for (int i = 0; i < 2; i++) {
    char path[512], text[256] = "";
    snprintf(path, sizeof path, "%s/%s", parent, files[i]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    if (read(fd, text, sizeof text - 1) > 0) put(folder, files[i], text);
    close(fd);
  }
}

static void once(char **hierarchies, int count) {
  char cgroups[16][256], pid_text[24];
  int gate[2], status;
  need(mkdir(upper, 0755), "upper");
  need(mkdir(work, 0755), "work");
  for (int i = 0; i < count; i++) {
    snprintf(cgroups[i], sizeof cgroups[i], "%s/berth-floor-%d", hierarchies[i], getpid());
    need(mkdir(cgroups[i], 0755), cgroups[i]);
    if (strstr(hierarchies[i], "cpuset")) fill_cpuset(hierarchies[i], cgroups[i]);
  }
  need(pipe2(gate, O_CLOEXEC), "pipe");
  struct clone_args arguments = {
      .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_NEWNET,
      .exit_signal = SIGCHLD,
  };
  long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid < 0) die("clone3");
  if (pid == 0) {
    close(gate[1]);
    child(gate[0]);
  }
  close(gate[0]);
  snprintf(pid_text, sizeof pid_text, "%ld", pid);
  for (int i = 0; i < count; i++) put(cgroups[i], "cgroup.procs", pid_text);
  close(gate[1]);
  if (waitpid((pid_t)pid, &status, 0) < 0 || status != 0) die("the child failed");
  for (int i = 0; i < count; i++) need(rmdir(cgroups[i]), "rmdir cgroup");
  char inner[600];
  snprintf(inner, sizeof inner, "%s/work", work);
  if (rmdir(inner) != 0 && errno != ENOENT) die("work/work");
  need(rmdir(work), "rmdir work");
  need(rmdir(upper), "rmdir upper");
}

static void run(char **command) {
  pid_t pid = fork();
  int status;
  if (pid < 0) die("fork");
  if (pid == 0) {
    execvp(command[0], command);
    die(command[0]);
  }
  if (waitpid(pid, &status, 0) < 0 || status != 0) die("the program failed");
}

static void hide_v2_of_hybrid(void) {
  need(unshare(CLONE_NEWNS), "unshare");
  need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private /");
  umount2("/sys/fs/cgroup/unified", MNT_DETACH);
}

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (long long)time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv) {
  char line[16];
  char **command = argc > 2 && !strcmp(argv[1], "--run") ? argv + 2 : NULL;
  if (command) {
    hide_v2_of_hybrid();
  } else if (argc > 2 && !strcmp(argv[1], "--exec")) {
    hide_v2_of_hybrid();
    execvp(argv[2], argv + 2);
    die(argv[2]);
  } else if (argc < 3 || argc > 19) {
    fprintf(stderr, "usage: floor ROOTFS SCRATCH [CGROUP-FOLDER...] | floor --run|--exec PROGRAM [ARGUMENT...]\n");
    return 2;
  } else {
    rootfs = argv[1];
    scratch = argv[2];
    snprintf(upper, sizeof upper, "%s/upper", scratch);
    snprintf(work, sizeof work, "%s/work", scratch);
    snprintf(merged, sizeof merged, "%s/merged", scratch);
    if (mkdir(merged, 0755) != 0 && errno != EEXIST) die(merged);
  }
  while (fgets(line, sizeof line, stdin)) {
    long long before = now();
    if (command) {
      run(command);
    } else {
      once(argv + 3, argc - 3);
    }
    printf("%lld\n", now() - before);
    fflush(stdout);
  }
  return 0;
}
