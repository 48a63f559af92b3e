#include "proxy/net/srv_records.h"

#include <ares.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace classgate::proxy::net {
namespace {

// Reads a DNS message (RFC 1035 section 4.1); never past its end.
class Message {
 public:
  explicit Message(std::span<const unsigned char> bytes) : bytes_(bytes) {}

  std::size_t at() const { return at_; }
  bool has(std::size_t count) const { return bytes_.size() - at_ >= count; }
  bool skip(std::size_t count) {
    if (!has(count)) return false;
    at_ += count;
    return true;
  }
  std::optional<std::uint16_t> number() {
    if (!has(2)) return std::nullopt;
    at_ += 2;
    return static_cast<std::uint16_t>(bytes_[at_ - 2] << 8 | bytes_[at_ - 1]);
  }
  std::optional<std::string> name() {
    char* text = nullptr;
    long length = 0;
    if (at_ >= bytes_.size() ||
        ares_expand_name(bytes_.data() + at_, bytes_.data(), static_cast<int>(bytes_.size()), &text,
                         &length) != ARES_SUCCESS)
      return std::nullopt;
    const std::unique_ptr<char, decltype(&ares_free_string)> owner(text, &ares_free_string);
    if (!skip(static_cast<std::size_t>(length))) return std::nullopt;
    return std::string(text);
  }

 private:
  std::span<const unsigned char> bytes_;
  std::size_t at_ = 0;
};

// The fields before the name of the target.
std::optional<Target> read_target(Message& message) {
  const auto priority = message.number(), weight = message.number(), port = message.number();
  auto host = message.name();
  if (!priority || !weight || !port || !host) return std::nullopt;
  return Target{std::move(*host), *port, *priority, *weight};
}

// One record of the answer; false when the message is not one.
bool read_answer(Message& message, Targets& out) {
  constexpr std::uint16_t type_srv = 33, type_cname = 5;
  if (!message.name()) return false;
  const auto type = message.number(), internet = message.number();
  const auto ttl_high = message.number(), ttl_low = message.number(), length = message.number();
  if (!type || !internet || !ttl_high || !ttl_low || !length || !message.has(*length)) return false;
  const std::size_t end = message.at() + *length;
  if (*type == type_srv || *type == type_cname) {
    const std::uint32_t ttl = std::uint32_t{*ttl_high} << 16 | *ttl_low;
    out.time_to_live = std::min(out.time_to_live, std::chrono::seconds(ttl));
  }
  if (*type == type_srv) {
    auto target = read_target(message);
    if (!target || message.at() > end) return false;
    if (target->host.empty())
      out.is_denied = true;
    else if (target->port != 0)
      out.targets.push_back(std::move(*target));
  }
  return message.skip(end - message.at());
}

}  // namespace

std::expected<Targets, std::string> read_targets(std::span<const unsigned char> bytes) {
  const std::unexpected broken(std::string("the answer of the nameserver is malformed"));
  Message message(bytes);
  Targets targets;
  if (!message.skip(4)) return broken;
  const auto questions = message.number(), answers = message.number();
  if (!questions || !answers || !message.skip(4)) return broken;
  for (unsigned i = 0; i < *questions; ++i)
    if (!message.name() || !message.skip(4)) return broken;
  for (unsigned i = 0; i < *answers; ++i)
    if (!read_answer(message, targets)) return broken;
  return targets;
}

}  // namespace classgate::proxy::net
