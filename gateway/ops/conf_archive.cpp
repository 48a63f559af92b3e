#include "gateway/ops/conf_archive.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "conf/format.h"
#include "gateway/json_text.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;
using proxy::net::Fd;

constexpr std::string_view archive_suffix = ".json";

std::string archive_error(int error) { return std::generic_category().message(error); }

// "12.json" -> 12
std::optional<std::uint64_t> number_in(std::string_view name) {
  if (!name.ends_with(archive_suffix)) return std::nullopt;
  name.remove_suffix(archive_suffix.size());
  std::uint64_t number = 0;
  const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || stop != name.data() + name.size() || number == 0 ||
      number > ConfArchive::number_max)
    return std::nullopt;
  return number;
}

std::string name_for(std::uint64_t number) { return fmt::format("{}{}", number, archive_suffix); }

Fd open_folder(const std::string& path) {
  return Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Those that there are, in rising order.
std::vector<std::uint64_t> numbers_in(const std::string& folder) {
  std::vector<std::uint64_t> numbers;
  std::error_code error;
  std::size_t looked_at = 0;
  for (std::filesystem::directory_iterator entry(folder, error), end;
       !error && entry != end && looked_at < ConfArchive::looked_through_max;
       entry.increment(error), ++looked_at)
    if (const auto number = number_in(entry->path().filename().native()))
      numbers.push_back(*number);
  std::ranges::sort(numbers);
  return numbers;
}

std::expected<std::string, std::string> read_kept(const Fd& folder, std::uint64_t number) {
  const Fd file(::openat(folder.get(), name_for(number).c_str(),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  struct stat found{};
  if (!file || ::fstat(file.get(), &found) != 0) return std::unexpected(archive_error(errno));
  if (!S_ISREG(found.st_mode)) return std::unexpected("is no file");
  if (static_cast<std::size_t>(found.st_size) > ConfArchive::bytes_max)
    return std::unexpected("is too large");
  std::string text(static_cast<std::size_t>(found.st_size), '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(archive_error(errno));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

std::string text_of(const KeptConf& conf) {
  std::vector<std::string> changes = conf.changes;
  if (changes.size() > ConfArchive::changes_max) {
    const std::size_t more = changes.size() - ConfArchive::changes_max;
    changes.resize(ConfArchive::changes_max);
    changes.push_back(fmt::format("{} more", more));
  }
  return json_text({{"at", conf.at},
                    {"by", conf.by},
                    {"what", conf.what},
                    {"was_in_force", conf.was_in_force},
                    {"changes", changes},
                    {"conf", conf.files.conf},
                    {"beside", conf.files.beside}},
                   1);
}

// A name of a file in conf.d, as it was read there: whoever can write the archive names no other.
bool is_name_beside(std::string_view name) {
  return name.size() <= 255 && name.ends_with(".conf") && !name.starts_with('.') &&
         !name.contains('/') && !name.contains('\0');
}

std::optional<KeptConf> kept_of(std::uint64_t number, const std::string& text) {
  const auto json = ordered_json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  KeptConf conf{.number = number};
  try {
    conf.at = json.at("at").get<std::string>();
    conf.by = json.at("by").get<std::string>();
    conf.what = json.at("what").get<std::string>();
    conf.was_in_force = json.at("was_in_force").get<bool>();
    conf.changes = json.at("changes").get<std::vector<std::string>>();
    conf.files.conf = json.at("conf").get<std::string>();
    conf.files.beside = json.at("beside").get<std::map<std::string, std::string>>();
  } catch (const ordered_json::exception&) {
    return std::nullopt;
  }
  for (const auto& [name, said] : conf.files.beside)
    if (!is_name_beside(name)) return std::nullopt;
  return conf;
}

// Written whole or not at all. Empty: done. EEXIST is told as such, for the next number.
struct NotWritten {
  int error = 0;
  std::string why;
};
std::optional<NotWritten> write_kept(const Fd& folder, std::uint64_t number,
                                     const std::string& text) {
  const std::string draft = fmt::format(".{}.{}", number, ::gettid());
  const auto fail = [&](int error) {
    ::unlinkat(folder.get(), draft.c_str(), 0);
    return NotWritten{error, archive_error(error)};
  };
  ::unlinkat(folder.get(), draft.c_str(), 0);  // of a thread that has gone
  const Fd file(::openat(folder.get(), draft.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return fail(errno);
  // Whose the folder is: a rollback is root's, and the gateway must be able to drop what is old.
  struct stat of{};
  if (::geteuid() == 0 && ::fstat(folder.get(), &of) == 0 &&
      ::fchown(file.get(), of.st_uid, of.st_gid) != 0)
    return fail(errno);
  for (std::size_t written = 0; written < text.size();) {
    const ssize_t put = ::write(file.get(), text.data() + written, text.size() - written);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return fail(put < 0 ? errno : ENOSPC);
    written += static_cast<std::size_t>(put);
  }
  if (::fsync(file.get()) != 0) return fail(errno);
  if (::linkat(folder.get(), draft.c_str(), folder.get(), name_for(number).c_str(), 0) != 0)
    return fail(errno);
  ::unlinkat(folder.get(), draft.c_str(), 0);
  ::fsync(folder.get());
  return std::nullopt;
}

}  // namespace

ConfFiles files_of(const conf::Texts& texts, const std::string& conf_path) {
  const std::filesystem::path beside = std::filesystem::path(conf_path).parent_path() / "conf.d";
  ConfFiles files;
  for (const auto& [path, text] : texts) {
    if (path == conf_path) files.conf = text;
    if (const std::filesystem::path file(path); file.parent_path() == beside)
      files.beside[file.filename()] = text;
  }
  return files;
}

conf::Texts texts_of(const ConfFiles& files, const std::string& conf_path) {
  const std::filesystem::path beside = std::filesystem::path(conf_path).parent_path() / "conf.d";
  conf::Texts texts{{conf_path, files.conf}};
  for (const auto& [name, text] : files.beside) texts.emplace_back(beside / name, text);
  return texts;
}

std::expected<ConfArchive::All, std::string> ConfArchive::read() const {
  const Fd folder = open_folder(folder_);
  if (!folder) return std::unexpected(fmt::format("{}: {}", folder_, archive_error(errno)));
  All all;
  for (const std::uint64_t number : numbers_in(folder_)) {
    const auto text = read_kept(folder, number);
    auto conf = text ? kept_of(number, *text) : std::nullopt;
    if (conf)
      all.confs.push_back(std::move(*conf));
    else
      all.damaged.push_back(fmt::format("{}/{}: {}", folder_, name_for(number),
                                        text ? "is damaged, or of another program" : text.error()));
  }
  return all;
}

std::expected<Fd, std::string> ConfArchive::lock() const {
  Fd folder = open_folder(folder_);
  if (folder && ::flock(folder.get(), LOCK_EX | LOCK_NB) != 0)
    return std::unexpected(errno == EWOULDBLOCK
                               ? "another rollback is under way"
                               : fmt::format("{}: {}", folder_, archive_error(errno)));
  return folder;
}

std::string ConfArchive::why_not() const {
  const auto tell = [](const std::string& folder) {
    return fmt::format("{}: {}", folder, archive_error(errno));
  };
  const std::string above = std::filesystem::path(folder_).parent_path();
  const Fd folder = open_folder(folder_);
  if (!folder && errno != ENOENT) return tell(folder_);
  if (!folder) return ::access(above.c_str(), W_OK | X_OK) == 0 ? std::string() : tell(above);
  return ::faccessat(folder.get(), ".", W_OK | X_OK, 0) == 0 ? std::string() : tell(folder_);
}

std::expected<std::uint64_t, std::string> ConfArchive::keep(const KeptConf& conf,
                                                            std::size_t most) const {
  const auto fail = [this](const std::string& why) {
    return std::unexpected(fmt::format("{}: {}", folder_, why));
  };
  Fd folder = open_folder(folder_);
  if (!folder && errno == ENOENT && ::mkdir(folder_.c_str(), 0700) == 0)
    folder = open_folder(folder_);
  if (!folder) return fail(archive_error(errno));
  std::vector<std::uint64_t> numbers = numbers_in(folder_);
  if (!numbers.empty())
    if (const auto last = read_kept(folder, numbers.back()))
      if (const auto kept = kept_of(numbers.back(), *last);
          kept && kept->files == conf.files && kept->was_in_force == conf.was_in_force)
        return 0;
  const std::string text = gateway::text_of(conf);
  if (text.size() > bytes_max) return fail("the conf is too large to be kept");
  constexpr int tries = 100;  // others may take numbers meanwhile
  std::uint64_t number = numbers.empty() ? 1 : numbers.back() + 1;
  for (int i = 0; i < tries; ++i, ++number) {
    const auto wrong = write_kept(folder, number, text);
    if (wrong && wrong->error == EEXIST) continue;
    if (wrong) return fail(wrong->why);
    numbers.push_back(number);
    for (std::size_t old = 0; old + most < numbers.size(); ++old)
      ::unlinkat(folder.get(), name_for(numbers[old]).c_str(), 0);
    return number;
  }
  return fail("others take every number");
}

}  // namespace classgate::gateway
