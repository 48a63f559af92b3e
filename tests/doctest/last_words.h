#pragma once

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

namespace classgate::test {

// What a process says on standard error when `deed` breaks a shared invariant (conf/invariant.h),
// which ends it: done by a child of this one. Empty when it lived on.
template <typename Deed>
std::string last_words(Deed&& deed) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // not doctest's report of a crash
    const rlimit no_core{};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::alarm(30);
    ::dup2(ends[1], STDERR_FILENO);
    deed();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string words;
  std::array<char, 1024> part;
  for (ssize_t size; (size = ::read(ends[0], part.data(), part.size())) > 0;)
    words.append(part.data(), static_cast<std::size_t>(size));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  const bool was_ended = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  return was_ended ? words : std::string();
}

}  // namespace classgate::test
