#pragma once

// Numbers for what the conf calls by name and admission looks up for every request.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/settings.h"

namespace classgate::admission {

// A slot in tables, and whose it is: a slot that goes to another name is of another generation from
// then on. So two names never have equal ids, whenever they were in the conf, and what is still in
// flight or waits on one that has gone is never taken for another's. The default is the one of its
// kind that is always there: the catch-all route, everybody's plan.
template <typename Kind>
struct Id {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  bool operator==(const Id&) const = default;
};
using RouteId = Id<struct RouteKind>;
using PlanId = Id<struct PlanKind>;

// What is known of each id: O(1), a value for each slot, and so never more than one conf has names.
// Any thread may read it as long as none changes it.
template <typename IdOf, typename Value>
class ById {
 public:
  // The value of this id; null: it has none, or its slot belongs to another id now.
  const Value* find(IdOf id) const { return knows(id) ? &entries_[id.slot].value : nullptr; }
  Value* find(IdOf id) { return knows(id) ? &entries_[id.slot].value : nullptr; }
  // The same, but a new id gets a value: it takes over the slot of one that has gone. Null: this id
  // itself has gone, and another has its slot.
  Value* find_or_add(IdOf id) { return knows(id) ? &entries_[id.slot].value : add(id); }
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const Entry& entry : entries_)
      if (entry.id.slot != nobodys) visit(entry.value);
  }
  // It has never had a value for any.
  bool is_empty() const { return entries_.empty(); }

 private:
  static constexpr std::uint32_t nobodys = static_cast<std::uint32_t>(-1);
  struct Entry {
    IdOf id{.slot = nobodys};
    Value value{};
  };
  bool knows(IdOf id) const { return id.slot < entries_.size() && entries_[id.slot].id == id; }
  Value* add(IdOf id) {
    if (id.slot >= entries_.size()) entries_.resize(id.slot + std::size_t{1});
    Entry& entry = entries_[id.slot];
    if (entry.id.slot == id.slot && is_later(entry.id.generation, id.generation)) return nullptr;
    entry = {id, {}};
    return &entry.value;
  }
  // They are counted round; those that are compared are never half the way apart.
  static bool is_later(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::int32_t>(a - b) > 0;
  }
  std::vector<Entry> entries_;  // by slot
};

// How the operator knows a client.
enum class ClientKind : std::uint8_t {
  unknown,     // not at all
  of_network,  // by an address in a plan's network: as many as there are addresses in it
  known,       // by a key, or a token or certificate that was verified
};

// The ids of one kind, by name. A value: the next conf's come from a copy of these.
template <typename IdOf>
class IdsByName {
 public:
  // These names have ids and no others. Who had one keeps it; the slots of those that have gone go
  // to new ones, the lowest first, so that there are never more slots than names at once, and one.
  void name(const std::vector<std::string>& names) {
    std::map<std::string, IdOf, std::less<>> next;
    std::vector<bool> is_taken(generations_.size());
    is_taken[0] = true;  // the one without a name
    for (const std::string& name : names)
      if (const auto known = by_name_.find(name); known != by_name_.end()) {
        next.insert(*known);
        is_taken[known->second.slot] = true;
      }
    std::uint32_t slot = 0;
    for (const std::string& name : names) {
      if (next.contains(name)) continue;
      while (slot < is_taken.size() && is_taken[slot]) ++slot;
      if (slot == generations_.size()) {
        generations_.push_back(0);
        is_taken.push_back(true);
      } else {
        ++generations_[slot];
        is_taken[slot] = true;
      }
      next.emplace(name, IdOf{slot, generations_[slot]});
    }
    by_name_ = std::move(next);
  }
  // The id of a name; IdOf{} when the name has none.
  IdOf of(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? IdOf{} : found->second;
  }
  // Empty for IdOf{}, and for an id whose name has gone.
  std::string_view name_of(IdOf id) const {
    for (const auto& [name, known] : by_name_)
      if (known == id) return name;
    return {};
  }
  const std::map<std::string, IdOf, std::less<>>& all() const { return by_name_; }
  // Which generation each slot is in.
  const std::vector<std::uint32_t>& generations() const { return generations_; }

 private:
  std::map<std::string, IdOf, std::less<>> by_name_;
  std::vector<std::uint32_t> generations_{0};
};

// The ids of a conf's routes (by path, a prefix with its '*') and plans (by name), stable over
// reloads: each conf's follow those of the one before. Those of a conf that follows none are always
// the same. Whoever puts a conf in force keeps them, and gives them to all who use them: the Gate,
// the RouteTable, who tells clients. A value; any thread.
class Ids {
 public:
  Ids() = default;
  explicit Ids(const conf::Settings& settings) { follow(settings); }
  explicit Ids(const std::vector<conf::RouteSettings>& routes);
  // Where only admission is asked: routes that have a rate, and plans.
  explicit Ids(const conf::AdmissionSettings& settings) { follow(settings); }

  void follow(const conf::Settings& settings);
  void follow(const conf::AdmissionSettings& settings);

  // The catch-all's and everybody's where the conf has none of that name.
  RouteId route(std::string_view name) const { return routes_.of(name); }
  PlanId plan(std::string_view name) const { return plans_.of(name); }
  // Empty: everybody's, or it has gone.
  std::string_view name_of(PlanId plan) const { return plans_.name_of(plan); }

  // All that have one, by name.
  const auto& routes() const { return routes_.all(); }
  const auto& plans() const { return plans_.all(); }

  std::size_t route_slots() const { return routes_.generations().size(); }
  const std::vector<std::uint32_t>& plan_generations() const { return plans_.generations(); }

 private:
  IdsByName<RouteId> routes_;
  IdsByName<PlanId> plans_;
};

}  // namespace classgate::admission
