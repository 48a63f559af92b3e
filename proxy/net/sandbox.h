#pragma once

#include <string>

namespace classgate::proxy::net {

// What the kernel keeps a thread from that serves clients: whoever finds a hole in it has a thread
// that moves bytes, and nothing else.
//
// seccomp(2): only the system calls that a loop makes; no program is started, no process or thread
// made, no memory made executable, no socket but of the Internet and Unix, none listened on, no
// file opened for writing. What is forbidden on purpose is EPERM; what is not known is ENOSYS, with
// which a C library of tomorrow goes back to what it did yesterday: nothing kills the process.
// landlock(7): of files, only the system's certificates and time zones can be read. (OpenSSL reads
// a trusted certificate when it first needs it.)
//
// It holds for threads, not for the process: main's thread still opens logs, conf and certificates
// wherever a reload names them, and starts the next program at an upgrade. A thread shares its
// memory with them: this stops what does not first get one of the others to act for it.
struct SandboxState {
  bool has_seccomp = false;
  bool has_landlock = false;
  std::string why_not;  // what is missing, for an operator
  bool is_whole() const { return has_seccomp && has_landlock; }
  std::string text() const;
};
// For the calling thread, until its end. Enters as much of it as can be had.
SandboxState enter_sandbox();
// What enter_sandbox() would do: tried on a thread of its own.
SandboxState try_sandbox();

// No core dump, and no look into this process by others of the same user (PR_SET_DUMPABLE). Of the
// whole process, until it starts another program. False when that can't be had.
bool forbid_core_dumps();

}  // namespace classgate::proxy::net
