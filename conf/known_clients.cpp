#include "conf/known_clients.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>

#include "conf/format.h"
#include "conf/nearest.h"
#include "conf/text_file.h"

namespace classgate::conf {
namespace {

using std::chrono::sys_seconds;

constexpr std::size_t mistakes_max = 100;

// "2026-12-31" or "2026-12-31T23:59:59Z" (RFC 3339, of UTC only).
struct Moment {
  sys_seconds at{};
  bool is_day = false;
};

std::optional<int> digits_in(std::string_view text) {
  int number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  return number;
}

std::optional<Moment> parse_moment(std::string_view text) {
  constexpr std::string_view form = "2026-12-31T23:59:59Z";
  constexpr std::size_t day_size = 10;
  if (text.size() != day_size && text.size() != form.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_digit = form[i] >= '0' && form[i] <= '9';
    if (!is_digit && text[i] != form[i]) return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t size) {
    return at < text.size() ? digits_in(text.substr(at, size)) : 0;
  };
  const auto year = number(0, 4), month = number(5, 2), day = number(8, 2);
  const auto hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  return Moment{std::chrono::sys_days(date) + std::chrono::hours(*hour) +
                    std::chrono::minutes(*minute) + std::chrono::seconds(*second),
                text.size() == day_size};
}

constexpr bool is_space(char c) { return c == ' ' || c == '\t'; }

// The first word of what is left, which becomes what follows it. (find_first_of() calls memchr()
// for each character: a tenth of what a large file takes.)
std::string_view take_word(std::string_view& rest) {
  const auto begin = std::ranges::find_if_not(rest, is_space);
  const auto end = std::find_if(begin, rest.end(), is_space);
  rest = {end, rest.end()};
  return {begin, end};
}

// The numbers of what has been seen, by a hash. (A node for each, as std::unordered_map has it, is
// one more cache miss each: half of the time that a large file took.)
class Seen {
 public:
  explicit Seen(std::size_t expected) : slots_(std::bit_ceil(2 * expected + 2)) {}

  // The one that is the same; none: it has been added as `number`.
  template <typename IsSame>
  std::optional<std::uint32_t> find_or_add(std::uint32_t hash, std::uint32_t number,
                                           const IsSame& is_same) {
    Slot* slot = &slots_[place_of(hash)];
    for (; slot->number != free; slot = next(slot))
      if (slot->hash == hash && is_same(slot->number)) return slot->number;
    *slot = {hash, number};
    if (2 * ++count_ > slots_.size()) grow();
    return std::nullopt;
  }

 private:
  static constexpr std::uint32_t free = 0xffffffff;
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t number = free;
  };
  std::size_t place_of(std::uint32_t hash) const { return hash & (slots_.size() - 1); }
  Slot* next(Slot* slot) { return slot == &slots_.back() ? slots_.data() : slot + 1; }
  void grow() {
    std::vector<Slot> before(2 * slots_.size());
    std::swap(before, slots_);
    for (const Slot& known : before) {
      if (known.number == free) continue;
      Slot* slot = &slots_[place_of(known.hash)];
      while (slot->number != free) slot = next(slot);
      *slot = known;
    }
  }

  std::vector<Slot> slots_;  // open addressing, half full at most
  std::size_t count_ = 0;
};

std::uint32_t short_hash(std::string_view name) {
  return static_cast<std::uint32_t>(std::hash<std::string_view>()(name));
}
std::uint32_t short_hash(const Sha256& hash) {  // a hash already
  std::uint32_t part = 0;
  std::memcpy(&part, hash.data(), sizeof(part));
  return part;
}

class FileReader {
 public:
  FileReader(std::string_view text, bool by_name)
      : text_(without_byte_order_mark(text)),
        by_name_too_(by_name),
        expected_(std::min(static_cast<std::size_t>(std::ranges::count(text_, '\n')) + 1,
                           known_clients_max)) {
    known_.clients.reserve(expected_);
    known_.keys.reserve(expected_);
    names_.reserve(expected_);
  }

  std::expected<KnownClients, std::vector<DocumentMistake>> read() {
    for (std::string_view rest = text_; !rest.empty();) {
      ++line_;
      std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      line_start_ = line.data();
      read_line(line.substr(0, line.find('#')));
    }
    if (found_ > mistakes_max)
      mistakes_.push_back({{line_, 1}, fmt::format("{} more mistakes", found_ - mistakes_max)});
    if (!mistakes_.empty()) return std::unexpected(std::move(mistakes_));
    return std::move(known_);
  }

 private:
  // Who has a mistake is not in; its name and keys are, to tell twins.
  void read_line(std::string_view line) {
    const std::string_view name = take_word(line);
    if (name.empty()) return;
    const std::size_t found_before = found_;
    const auto number = static_cast<std::uint32_t>(known_.clients.size());
    if (name.starts_with(key_prefix))
      mistake(name, "is a key: the file has the names of clients and the hashes of their keys");
    else if (is_like_pseudonym(name))
      mistake(name,
              "reads like the id of a client that has no name, c_ and 8 hexadecimal digits: "
              "name it otherwise");
    else if (!is_client_name(name))
      mistake(name, name.contains('=')
                        ? "the line begins with the client's name; what has a '=' follows it"
                        : "is no name of a client: letters, digits and - . _ @ : / +, 64 at most, "
                          "and not \"-\" alone");
    else if (const auto twin = twin_of(name))
      mistake(name, fmt::format("{} stands already in line {}; all keys of a client stand in one "
                                "line, each as key=sha256:...",
                                name, *twin));
    if (number == known_clients_max)
      return mistake(name, fmt::format("there may be {} clients", known_clients_max));
    KnownClient client;
    client.name = name;
    said_.fill(false);
    const std::size_t keys_before = known_.keys.size();
    for (std::string_view word = take_word(line); !word.empty(); word = take_word(line))
      read_word(word, client, number);
    const std::size_t keys = known_.keys.size() - keys_before;
    if (found_ == found_before && keys == 0 && !by_name_too_)
      // Its one word may be a key that was put here as it is: it is not told.
      mistake(
          name,
          "the client of this line has no key: classgate key new NAME makes one and says the line");
    if (keys > keys_of_client_max)
      mistake(name, fmt::format("{} has {} keys; there may be {}", name, keys, keys_of_client_max));
    if (client.not_before >= client.not_after)
      mistake(name, fmt::format("the keys of {} would never hold: not_before is not before "
                                "not_after",
                                name));
    known_.clients.push_back(std::move(client));
  }

  void read_word(std::string_view word, KnownClient& client, std::uint32_t number) {
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string_view what = word.substr(0, equals);
    const std::string_view value = word.substr(std::min(equals + 1, word.size()));
    if (what == "key" && equals < word.size()) return read_key(word, value, number);
    const auto index = static_cast<std::size_t>(std::ranges::find(words, what) - words.begin());
    if (index == words.size() || equals == word.size()) return unknown_word(word, what);
    if (std::exchange(said_[index], true))
      return mistake(word, fmt::format("{} stands here twice", what));
    if (what == "plan") {
      client.plan = value;
      client.plan_place = place_of(word);
      if (value.empty() || value.size() > 64)
        mistake(word, "plan: expected the name of a [[plan]]");
      return;
    }
    const auto moment = parse_moment(value);
    if (!moment)
      return mistake(word, fmt::format("{}: expected a day or a time in UTC, such as 2026-12-31 or "
                                       "2026-12-31T23:59:59Z",
                                       what));
    if (what == "not_before")
      client.not_before = moment->at;
    else
      client.not_after =
          moment->at + (moment->is_day ? std::chrono::days(1) : std::chrono::days(0));
  }

  // What stands there may be a key itself: it is not repeated.
  void read_key(std::string_view word, std::string_view value, std::uint32_t number) {
    std::optional<Sha256> hash;
    if (value.starts_with(key_hash_prefix)) hash = sha256_in(value.substr(key_hash_prefix.size()));
    if (!hash)
      return mistake(word,
                     "key: expected sha256: and 64 hexadecimal digits, the hash of a key, "
                     "never a key itself (printf %s KEY | sha256sum)");
    if (*hash == sha256(""))
      return mistake(word,
                     "key: is the hash of nothing, which is no key: printf %s KEY | sha256sum, "
                     "with the key in place of KEY");
    if (const auto twin = twin_of(*hash))
      return mistake(word, fmt::format("this key stands already in line {}", *twin));
    known_.keys.push_back({*hash, number, line_});
  }

  // The line in which it stands already; else it is known from now on.
  std::optional<std::uint32_t> twin_of(std::string_view name) {
    const auto twin =
        by_name_.find_or_add(short_hash(name), static_cast<std::uint32_t>(names_.size()),
                             [&](std::uint32_t number) { return names_[number].first == name; });
    if (twin) return names_[*twin].second;
    names_.emplace_back(name, line_);
    return std::nullopt;
  }
  std::optional<std::uint32_t> twin_of(const Sha256& hash) {
    const auto twin =
        by_key_.find_or_add(short_hash(hash), static_cast<std::uint32_t>(known_.keys.size()),
                            [&](std::uint32_t number) { return known_.keys[number].hash == hash; });
    return twin ? std::optional(known_.keys[*twin].line) : std::nullopt;
  }

  void unknown_word(std::string_view word, std::string_view what) {
    std::vector<std::string> known(words.begin(), words.end());
    known.emplace_back("key");
    const std::string meant = nearest(what.substr(0, 32), known);
    // Not repeated: it may be a key that somebody wrote here.
    mistake(word, "unknown word; there are plan=, key=, not_before= and not_after=" +
                      (meant.empty() ? "" : fmt::format("; did you mean {}=?", meant)));
  }

  Place place_of(std::string_view word) const {
    return {line_, static_cast<std::uint32_t>(word.data() - line_start_) + 1};
  }
  void mistake(std::string_view at, std::string text) {
    if (++found_ <= mistakes_max) mistakes_.push_back({place_of(at), std::move(text)});
  }

  static constexpr std::array<std::string_view, 3> words{"plan", "not_before", "not_after"};
  std::string_view text_;
  bool by_name_too_;
  std::size_t expected_;  // so many clients, or fewer
  const char* line_start_ = nullptr;
  std::uint32_t line_ = 0;
  std::array<bool, words.size()> said_{};
  KnownClients known_;
  std::vector<std::pair<std::string_view, std::uint32_t>> names_;  // with the line of each
  Seen by_name_{expected_};                                        // in names_
  Seen by_key_{expected_};                                         // in known_.keys
  std::vector<DocumentMistake> mistakes_;
  std::size_t found_ = 0;
};

}  // namespace

bool is_like_pseudonym(std::string_view name) {
  return name.size() == 10 && name.starts_with("c_") &&
         std::ranges::all_of(name.substr(2), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
         });
}

bool is_client_name(std::string_view name) {
  // "-" is what logs say of nobody.
  return !name.empty() && name != "-" && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    switch (c) {
      case '-':
      case '.':
      case '_':
      case '@':
      case ':':
      case '/':
      case '+': return true;
      default: return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }
  });
}

std::expected<KnownClients, std::vector<DocumentMistake>> read_known_clients(std::string_view text,
                                                                             bool by_name) {
  return FileReader(text, by_name).read();
}

std::string print_known_client(std::string_view name, const Sha256& key) {
  return fmt::format("{} key={}{}", name, key_hash_prefix, hex_of(key));
}

}  // namespace classgate::conf
