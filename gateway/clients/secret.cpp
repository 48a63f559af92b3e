#include "gateway/clients/secret.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "conf/format.h"
#include "conf/sha256.h"
#include "conf/text_file.h"
#include "gateway/clients/client_identity.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t characters_min = 32;
constexpr std::string_view blanks = " \t\r\n";
// A text that repeats one as long as this, or shorter, is no random one.
constexpr std::size_t repeated_max = 16;

std::string error_text(int error) { return std::generic_category().message(error); }

std::string fresh_text() {
  conf::Sha256 random{};
  std::size_t size = 0;
  while (size < random.size()) {
    const ssize_t got = ::getrandom(&random[size], random.size() - size, 0);
    if (got > 0) size += static_cast<std::size_t>(got);
    if (got < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category());
  }
  return conf::hex_of(random) + "\n";
}

// Gone with its path unless it has got its name.
class Draft {
 public:
  explicit Draft(const std::string& beside)
      : path_(beside + ".XXXXXX"), fd_(::mkostemp(path_.data(), O_CLOEXEC)) {}  // mode 0600
  Draft(const Draft&) = delete;
  ~Draft() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(path_.c_str());
  }
  bool is_open() const { return fd_ >= 0; }
  bool write(std::string_view text) const {
    return ::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
           ::fsync(fd_) == 0;
  }
  // Whoever is first gives the name: link(2) takes nobody's place.
  bool give_name(const std::string& path) const {
    return ::link(path_.c_str(), path.c_str()) == 0 || errno == EEXIST;
  }

 private:
  std::string path_;
  int fd_;
};

// The error is an errno.
std::expected<void, int> make_file(const std::string& path) {
  const Draft draft(path);
  if (!draft.is_open() || !draft.write(fresh_text()) || !draft.give_name(path))
    return std::unexpected(errno != 0 ? errno : EIO);
  return {};
}

HashKey key_in(std::string_view text) {
  const conf::Sha256 hash = conf::sha256(text);
  HashKey key{};
  for (std::size_t i = 0; i < 16; ++i) key[i / 8] |= std::uint64_t{hash[i]} << (8 * (i % 8));
  return key;
}

std::string_view without_blanks(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(blanks), text.size());
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

struct Unusable {
  enum class Kind { missing, unreadable, bad };
  Kind kind;
  std::string why;
};

// How long the text is that this one repeats, up to repeated_max; 0: it repeats none.
std::size_t size_of_repeated(std::string_view text) {
  for (std::size_t size = 1; size <= std::min(repeated_max, text.size() / 2); ++size)
    if (text.substr(size) == text.substr(0, text.size() - size)) return size;
  return 0;
}

// What makes it a key that others may have too; empty: nothing. Says nothing of what it holds.
std::string why_no_key(std::string_view file) {
  if (file.contains('\0')) return "holds a NUL byte: this is not a text file";
  // It would be hashed too: a copy without it would give clients other ids.
  if (conf::without_byte_order_mark(file).size() < file.size())
    return "begins with a byte order mark, which belongs to no key";
  const std::string_view secret = without_blanks(file);
  if (secret.size() < characters_min)
    return fmt::format("holds {} characters, and must hold {}", secret.size(), characters_min);
  if (const std::size_t size = size_of_repeated(secret); size > 0)
    return fmt::format("is no random text, but {} over and over, which anybody can guess",
                       size == 1 ? "one character" : fmt::format("{} characters", size));
  return {};
}

std::expected<HashKey, Unusable> read_key(const std::string& path) {
  struct stat found{};
  const bool is_missing = ::stat(path.c_str(), &found) != 0 && errno == ENOENT;
  auto text = conf::read_text_file(path);
  if (!text)
    return std::unexpected(
        Unusable{is_missing ? Unusable::Kind::missing : Unusable::Kind::unreadable, text.error()});
  const std::string why = why_no_key(*text);
  if (why.empty()) return key_in(without_blanks(*text));
  return std::unexpected(
      Unusable{Unusable::Kind::bad,
               why + ": remove it to have one made, or write the output of: openssl rand -hex 32"});
}

bool is_usual_place(const std::string& path) { return path == conf::ClientsSettings().secret; }

std::string line_of(const std::string& path, const std::string& why) {
  return fmt::format("clients.secret: {}: {}", path, why);
}

// What others than the owner may do with it; empty: nothing that matters (a group that reads is how
// orchestrators mount secrets).
std::string warning_of(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) return {};
  if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return line_of(path, "others than its owner can write it: chmod 600");
  if ((found.st_mode & S_IROTH) != 0)
    return line_of(path, "everybody on this machine can read it: chmod 600");
  return {};
}

// Where nothing can be read. Empty: a file can be made there, as far as one can know without.
std::string why_not_makeable(const std::string& path) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0)  // or else somebody made it since
    return S_ISLNK(found.st_mode) ? "is a link to a file that is not there" : "";
  const std::string folder = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  return "cannot be made: " + error_text(errno);
}

}  // namespace

std::expected<Secret, std::string> take_secret(const conf::ClientsSettings& clients) {
  const std::string& path = clients.secret;
  if (path == "off") return Secret{.key = make_hash_key(), .warning = {}, .is_lasting = false};
  const auto without = [&](const std::string& why) -> std::expected<Secret, std::string> {
    if (!is_usual_place(path)) return std::unexpected(line_of(path, why));
    return Secret{
        .key = make_hash_key(),
        .warning = fmt::format("{}; the ids of clients in logs and pages change with each start. "
                               "Name a place for it, or say clients.secret = \"off\"",
                               line_of(path, why)),
        .is_lasting = false};
  };
  auto key = read_key(path);
  const bool is_missing = !key && key.error().kind == Unusable::Kind::missing;
  if (is_missing) {
    if (const std::string why = why_not_makeable(path); !why.empty()) return without(why);
    if (const auto made = make_file(path); !made)
      return without("cannot be made: " + error_text(made.error()));
    key = read_key(path);
  }
  if (!key && key.error().kind != Unusable::Kind::bad) return without(key.error().why);
  if (!key) return std::unexpected(line_of(path, key.error().why));
  return Secret{.key = *key, .warning = warning_of(path), .is_made = is_missing};
}

std::expected<std::string, std::string> check_secret(const conf::ClientsSettings& clients,
                                                     const HashKey* in_force) {
  const std::string& path = clients.secret;
  if (path == "off") return {};
  const auto key = read_key(path);
  if (key) {
    std::string warning = warning_of(path);
    if (in_force == nullptr || *key == *in_force) return warning;
    if (!warning.empty()) warning += '\n';
    warning += line_of(path,
                       "holds another key than the one in force, which stays until the next "
                       "start: then clients have other ids");
    return warning;
  }
  const bool is_missing = key.error().kind == Unusable::Kind::missing;
  std::string why = is_missing ? why_not_makeable(path) : key.error().why;
  const bool goes_without = is_usual_place(path) && key.error().kind != Unusable::Kind::bad;
  if (!why.empty() && !goes_without) return std::unexpected(line_of(path, why));
  // Where none could be kept a start has said so.
  if (!is_missing || !why.empty() || in_force == nullptr) return {};
  return line_of(path,
                 "is not there: the next start makes another one, and then clients have other ids, "
                 "and quotas begin anew. Bring it back from a copy");
}

std::optional<HashKey> kept_key(const conf::ClientsSettings& clients) {
  if (clients.secret == "off") return std::nullopt;
  const auto key = read_key(clients.secret);
  return key ? std::optional(*key) : std::nullopt;
}

}  // namespace classgate::gateway
