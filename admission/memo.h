#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admission/books.h"
#include "admission/client_table.h"
#include "admission/process_times.h"

namespace classgate::admission {

struct RouteMemo {
  std::string path;  // conf::name_of(), or `everything_else`
  ProcessTime::Learnt work{};
  std::optional<double> tokens = std::nullopt;  // of the route's own bucket, if it has one
};

// What a Controller has learnt.
struct PolicyMemo {
  static constexpr const char* everything_else = "*";  // no path in a conf is that
  static constexpr std::size_t clients_max = 10'000;

  std::optional<double> tokens = std::nullopt;          // of the bucket for all requests
  std::optional<double> rate = std::nullopt;            // that rate = "auto" has found
  std::optional<std::uint32_t> workers = std::nullopt;  // that workers = "auto" has found
  Duration usual_turn{};                                // Books::usual_turn()
  std::vector<RouteMemo> routes{};
  std::vector<std::string> plans{};  // Account::plan is a place in these; empty: everybody's terms
  // Not those that have all that a newcomer gets, and of the others `clients_max` at most, those
  // that would gain most by being forgotten.
  std::vector<ClientTable::Account> clients{};
};

struct ShadowMemo {
  std::uint64_t alike = 0;
  ReasonCounts would_refuse{};
  ReasonCounts would_accept{};
  PolicyMemo policy{};
  std::string conf{};  // what the shadow's conf says; for whoever passes the memo on
};

// What a Gate has learnt, for the process that takes over from this one. Routes and plans go by
// their names, as that one may have another conf: of what it does not have it takes nothing, and no
// bucket gets more than its burst there. A value.
//
// Not in it: the books, in which each process has its own requests; requests that wait or are at
// work, which their process finishes; who was told to come back when.
struct Memo {
  Time at{};  // of all levels
  PolicyMemo policy{};
  std::optional<ShadowMemo> shadow = std::nullopt;
};

// Of all the clients that it is shown, those that would gain most by being forgotten. Takes memory
// for these only.
class Debtors {
 public:
  explicit Debtors(std::size_t most) : most_(most) {}
  void offer(const ClientTable::Account& account);
  std::vector<ClientTable::Account> take() { return std::move(accounts_); }

 private:
  std::size_t most_;
  std::vector<ClientTable::Account> accounts_;  // when full a heap, who would gain least first
};

}  // namespace classgate::admission
