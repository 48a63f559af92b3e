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
constexpr std::string_view space = " \t\r\n";

std::string text_of(int error) { return std::generic_category().message(error); }

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

struct Unusable {
  enum class Kind { missing, unreadable, bad };
  Kind kind;
  std::string why;
};

std::expected<HashKey, Unusable> read_key(const std::string& path) {
  struct stat found{};
  const bool is_missing = ::stat(path.c_str(), &found) != 0 && errno == ENOENT;
  auto text = conf::read_text_file(path);
  if (!text)
    return std::unexpected(
        Unusable{is_missing ? Unusable::Kind::missing : Unusable::Kind::unreadable, text.error()});
  const std::size_t begin = std::min(text->find_first_not_of(space), text->size());
  const std::string_view secret =
      std::string_view(*text).substr(begin, text->find_last_not_of(space) + 1 - begin);
  if (secret.size() >= characters_min) return key_in(secret);
  return std::unexpected(
      Unusable{Unusable::Kind::bad,
               fmt::format("holds {} characters, and must hold {}: remove it to have one made, or "
                           "write the output of: openssl rand -hex 32",
                           secret.size(), characters_min)});
}

bool everybody_can_read(const std::string& path) {
  struct stat found{};
  return ::stat(path.c_str(), &found) == 0 && (found.st_mode & S_IROTH) != 0;
}

bool is_usual_place(const std::string& path) { return path == conf::ClientsSettings().secret; }

std::string line_of(const std::string& path, const std::string& why) {
  return fmt::format("clients.secret: {}: {}", path, why);
}

}  // namespace

std::expected<Secret, std::string> take_secret(const conf::ClientsSettings& clients) {
  const std::string& path = clients.secret;
  if (path == "off") return Secret{make_hash_key(), {}};
  const auto without = [&](const std::string& why) -> std::expected<Secret, std::string> {
    if (!is_usual_place(path)) return std::unexpected(line_of(path, why));
    return Secret{make_hash_key(),
                  fmt::format("{}; the ids of clients in logs and pages change with each start. "
                              "Name a place for it, or say clients.secret = \"off\"",
                              line_of(path, why))};
  };
  auto key = read_key(path);
  if (!key && key.error().kind == Unusable::Kind::missing) {
    if (const auto made = make_file(path); !made)
      return without("cannot be made: " + text_of(made.error()));
    key = read_key(path);
  }
  if (!key && key.error().kind != Unusable::Kind::bad) return without(key.error().why);
  if (!key) return std::unexpected(line_of(path, key.error().why));
  if (everybody_can_read(path))
    return Secret{*key, line_of(path, "everybody on this machine can read it: chmod 600")};
  return Secret{*key, {}};
}

std::string why_no_secret(const conf::ClientsSettings& clients) {
  if (clients.secret == "off") return {};
  const auto key = read_key(clients.secret);
  if (key || key.error().kind == Unusable::Kind::missing) return {};
  if (is_usual_place(clients.secret) && key.error().kind == Unusable::Kind::unreadable) return {};
  return line_of(clients.secret, key.error().why);
}

}  // namespace classgate::gateway
