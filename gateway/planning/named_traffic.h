#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admission/simulation/traffic.h"

namespace classgate::planning {

using simulation::Duration;
using simulation::Time;

// Traffic that can be spoken about.
class NamedTraffic : public simulation::Traffic {
 public:
  virtual std::string group_kind() const = 0;  // "class" or "route"
  virtual std::string group_name(std::uint32_t group) const = 0;
  virtual std::string client_name(std::uint32_t client) const = 0;
  // How much of it has been handed out, 0 to 1, for a progress bar.
  virtual double progress() const = 0;
  // What the reader of a report must know of it, such as lines that were left out.
  virtual std::vector<std::string> remarks() const { return {}; }
  // When it began, in a log that tells; by the clock of who wrote it.
  virtual std::optional<std::chrono::system_clock::time_point> began() const { return {}; }
  // Not empty: this traffic cannot be believed.
  virtual std::string complaint() const { return {}; }
  // Where it comes from, beneath what was made of it.
  virtual NamedTraffic& source() { return *this; }
};

// Traffic that is made of other traffic, and is told of as that is. What comes is for whoever
// derives from it to say.
class DerivedTraffic : public NamedTraffic {
 public:
  explicit DerivedTraffic(std::unique_ptr<NamedTraffic> traffic) : traffic_(std::move(traffic)) {}

  std::string group_kind() const override { return traffic_->group_kind(); }
  std::string group_name(std::uint32_t group) const override { return traffic_->group_name(group); }
  std::string client_name(std::uint32_t client) const override {
    return traffic_->client_name(client);
  }
  double progress() const override { return traffic_->progress(); }
  std::vector<std::string> remarks() const override { return traffic_->remarks(); }
  std::optional<std::chrono::system_clock::time_point> began() const override {
    return traffic_->began();
  }
  std::string complaint() const override { return traffic_->complaint(); }
  NamedTraffic& source() override { return traffic_->source(); }

 protected:
  NamedTraffic& below() { return *traffic_; }
  const NamedTraffic& below() const { return *traffic_; }

 private:
  std::unique_ptr<NamedTraffic> traffic_;
};

}  // namespace classgate::planning
