#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "admission/time.h"
#include "conf/reason.h"
#include "gateway/clients/credential_checks.h"

namespace classgate::gateway {

struct RouteMetrics;

// Refusals that get no line of their own (log.refusals_max): counted by client, reason, what was
// wrong with credentials, and route, to be told in one line each. Bounded: when there are kinds_max
// of these, what is new is counted by its reason alone, as of client "*". Takes its memory (100
// KiB) at once: it is asked when an exchange ends, which must not fail. One thread.
class RefusalRollup {
 public:
  RefusalRollup();
  static constexpr std::size_t kinds_max = 256;
  // Of one line: what reads the log makes as many requests of it again.
  static constexpr std::uint64_t count_max = 100'000;

  struct Refusal {
    std::string_view client;   // "-": only its address is known, and tells it from others
    std::string_view address;  // of the first
    conf::Reason reason{};
    const RouteMetrics* route = nullptr;  // null: it was refused before it had one
    std::string_view path;
    int status = 0;
    std::string_view name = "-";  // of a client of clients.clients_file
    std::string_view plan = "-";  // empty: of clients of several, or nobody knows
    CredentialFault credentials = CredentialFault::none;
  };
  struct Line {
    Refusal refusal;  // the first of its kind
    std::uint64_t count = 0;
    admission::Time first{};
    admission::Time last{};
  };

  // False when a kind has become too large: to be told now.
  [[nodiscard]] bool add(const Refusal& refusal, admission::Time now);
  bool is_empty() const { return total_ == 0; }
  // Of the oldest that is there.
  admission::Time since() const { return since_; }
  // Calls `tell` with each line, in the order in which they began, and forgets them. The views live
  // as long as the call.
  template <typename Tell>
  void take(Tell tell) {
    for (std::size_t i = 0; i < kinds_.size(); ++i) tell(line_of(kinds_[i]));
    for (const Kind& kind : others_)
      if (kind.count > 0) tell(line_of(kind));
    clear();
  }

 private:
  static constexpr std::size_t client_max = 16;
  static constexpr std::size_t address_max = 48;
  static constexpr std::size_t path_max = 128;
  static constexpr std::size_t name_max = 64;
  static constexpr std::size_t plan_max = 64;
  static constexpr std::size_t places = 2 * kinds_max;
  struct Kind {
    std::array<char, client_max> client;
    std::array<char, address_max> address;
    std::array<char, path_max> path;
    std::array<char, name_max> name;
    std::array<char, plan_max> plan;
    std::uint8_t client_size = 0;
    std::uint8_t address_size = 0;
    std::uint8_t path_size = 0;
    std::uint8_t name_size = 0;
    std::uint8_t plan_size = 0;
    conf::Reason reason{};
    CredentialFault credentials{};
    const RouteMetrics* route = nullptr;
    int status = 0;
    std::uint64_t count = 0;
    admission::Time first{};
    admission::Time last{};
  };
  static Line line_of(const Kind& kind);
  static void begin(Kind& kind, const Refusal& refusal, admission::Time now);
  Kind& kind_of(const Refusal& refusal, admission::Time now);
  void clear();

  std::vector<Kind> kinds_;
  std::vector<std::uint16_t> index_;  // by hash: one more than the place in kinds_; 0: none
  std::array<Kind, conf::reason_count> others_{};
  std::uint64_t total_ = 0;
  admission::Time since_{};
};

}  // namespace classgate::gateway
