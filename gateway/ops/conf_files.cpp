#include "gateway/ops/conf_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "conf/format.h"
#include "conf/text_file.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {
namespace {

namespace fs = std::filesystem;
using Done = std::expected<void, std::string>;

fs::path folder_beside(const std::string& conf_path) {
  return fs::path(conf_path).parent_path() / "conf.d";
}

std::unexpected<std::string> swap_failed(const std::string& path, int error) {
  const char* hint = error == EROFS || error == EBUSY
                         ? ": it comes from elsewhere (a ConfigMap, an image): change it there"
                         : "";
  return std::unexpected(
      fmt::format("{}: {}{}", path, std::generic_category().message(error), hint));
}

// Where a link leads, as far as there is one.
std::string real_place(const std::string& path) {
  std::error_code error;
  const fs::path real = fs::weakly_canonical(path, error);
  return error ? path : real.string();
}

// `like` is the file whose mode and owner it takes.
Done replace_file(const std::string& path, const std::string& text, const std::string& like) {
  const std::string real = real_place(path);
  struct stat as{};
  const bool has_model = ::stat(real.c_str(), &as) == 0 || ::stat(like.c_str(), &as) == 0;
  if (struct stat there{}; ::stat(real.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    return std::unexpected(path + ": is no regular file");
  const fs::path place(real);
  const std::string draft =
      place.parent_path() / fmt::format(".{}.{}", place.filename().native(), ::getpid());
  constexpr mode_t usual = 0640;
  const proxy::net::Fd file(
      ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return swap_failed(path, errno);
  const auto fail = [&](int error) {
    ::unlink(draft.c_str());
    return swap_failed(path, error);
  };
  if (has_model && (as.st_uid != ::geteuid() || as.st_gid != ::getegid()) &&
      ::fchown(file.get(), as.st_uid, as.st_gid) != 0)
    return fail(errno);
  if (::fchmod(file.get(), has_model ? as.st_mode & 07777 : usual) != 0) return fail(errno);
  for (std::size_t written = 0; written < text.size();) {
    const ssize_t put = ::write(file.get(), text.data() + written, text.size() - written);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return fail(put < 0 ? errno : ENOSPC);
    written += static_cast<std::size_t>(put);
  }
  if (::fsync(file.get()) != 0 || ::rename(draft.c_str(), real.c_str()) != 0) return fail(errno);
  return {};
}

}  // namespace

std::expected<ConfFiles, std::string> read_conf_files(const std::string& conf_path) {
  ConfFiles files;
  std::error_code error;
  if (fs::exists(conf_path, error)) {
    auto text = conf::read_text_file(conf_path);
    if (!text) return std::unexpected(fmt::format("{}: {}", conf_path, text.error()));
    files.conf = std::move(*text);
  }
  for (fs::directory_iterator entry(folder_beside(conf_path), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (!name.ends_with(".conf") || name.starts_with('.')) continue;
    auto text = conf::read_text_file(entry->path());
    if (!text) return std::unexpected(fmt::format("{}: {}", entry->path().native(), text.error()));
    files.beside[name] = std::move(*text);
  }
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    return std::unexpected(
        fmt::format("{}: {}", folder_beside(conf_path).native(), error.message()));
  return files;
}

Done ConfFileSwap::write(const std::string& path, const std::string& text) {
  std::error_code error;
  Step step{.path = path, .former = std::nullopt};
  if (fs::exists(path, error)) {
    auto former = conf::read_text_file(path);
    if (!former) return std::unexpected(fmt::format("{}: {}", path, former.error()));
    if (*former == text) return {};
    step.former = std::move(*former);
  }
  if (auto done = replace_file(path, text, conf_path_); !done) return done;
  steps_.push_back(std::move(step));
  return {};
}

Done ConfFileSwap::put_aside(const std::string& path) {
  constexpr int tries = 1000;
  for (int i = 1; i <= tries; ++i) {
    const std::string aside =
        i == 1 ? path + ".rolled-back" : fmt::format("{}.rolled-back.{}", path, i);
    if (::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) == 0) {
      steps_.push_back({.path = path, .former = std::nullopt, .moved_to = aside});
      told_.push_back(fmt::format("{} is {} now: the older conf had no such file", path, aside));
      return {};
    }
    if (errno != EEXIST) return swap_failed(path, errno);
  }
  return swap_failed(path, EEXIST);
}

std::expected<void, std::string> ConfFileSwap::to(const ConfFiles& files) {
  const auto all = [&]() -> Done {
    const auto now = read_conf_files(conf_path_);
    if (!now) return std::unexpected(now.error());
    const fs::path beside = folder_beside(conf_path_);
    for (const auto& [name, text] : now->beside)
      if (!files.beside.contains(name))
        if (auto done = put_aside(beside / name); !done) return done;
    if (!files.beside.empty()) {
      std::error_code error;
      fs::create_directory(beside, error);
      if (error) return std::unexpected(fmt::format("{}: {}", beside.native(), error.message()));
    }
    for (const auto& [name, text] : files.beside)
      if (auto done = write(beside / name, text); !done) return done;
    return write(conf_path_, files.conf);
  };
  auto done = all();
  if (done) return {};
  const std::string wrong = back();
  return std::unexpected(wrong.empty() ? done.error()
                                       : done.error() + "; and could not be put back: " + wrong);
}

std::string ConfFileSwap::back() {
  std::string wrong;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    Done done;
    if (!step->moved_to.empty()) {
      if (::rename(step->moved_to.c_str(), step->path.c_str()) != 0)
        done = swap_failed(step->path, errno);
    } else if (step->former) {
      done = replace_file(step->path, *step->former, conf_path_);
    } else if (::unlink(step->path.c_str()) != 0) {
      done = swap_failed(step->path, errno);
    }
    if (!done) wrong += (wrong.empty() ? "" : "; ") + done.error();
  }
  steps_.clear();
  told_.clear();
  return wrong;
}

}  // namespace classgate::gateway
