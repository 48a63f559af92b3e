#include "gateway/clients/new_key.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <system_error>

#include "conf/format.h"
#include "conf/known_clients.h"
#include "conf/printable.h"
#include "conf/sha256.h"

namespace classgate::gateway {

std::string make_key() {
  // Base 32 as Crockford writes it: without i, l, o and u.
  constexpr std::string_view digits = "0123456789abcdefghjkmnpqrstvwxyz";
  std::array<std::uint8_t, 32> random{};  // five bits of each are used
  // Up to 256 bytes come whole (getrandom(2)).
  while (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "getrandom");
  std::string key(conf::key_prefix);
  for (const std::uint8_t byte : random) key += digits[byte & 31];
  return key;
}

int print_new_key(const std::string& name) {
  if (conf::is_like_pseudonym(name)) {
    conf::print(stderr, fmt::format("classgate: \"{}\" reads like the id of a client that has no "
                                    "name, c_ and 8 hexadecimal digits: name it otherwise\n",
                                    name));
    return 1;
  }
  if (!conf::is_client_name(name) || name.starts_with(conf::key_prefix)) {
    conf::print(stderr, fmt::format("classgate: \"{}\" is no name of a client: letters, digits and "
                                    "- . _ @ : / +, 64 at most, and not \"-\" alone\n",
                                    conf::printable(name)));
    return 1;
  }
  const std::string key = make_key();
  conf::print(stdout,
              fmt::format("key for the client, which nobody can show again:\n  {}\nline for "
                          "clients.clients_file, to which plan= and not_after= may be "
                          "added:\n  {}\n",
                          key, conf::print_known_client(name, conf::sha256(key))));
  return 0;
}

}  // namespace classgate::gateway
