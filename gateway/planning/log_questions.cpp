#include "gateway/planning/log_questions.h"

#include <algorithm>
#include <utility>

namespace classgate::planning {
namespace {

constexpr std::size_t questions_max = 100'000;

}  // namespace

std::uint32_t LogQuestions::number_of(std::string_view method, std::string_view path,
                                      std::uint32_t none) {
  const auto is_of_methods = [](char c) { return (c >= 'A' && c <= 'Z') || c == '-' || c == '_'; };
  constexpr std::size_t method_max = 20;
  const bool is_told = method.size() <= method_max && std::ranges::all_of(method, is_of_methods);
  std::string question(is_told ? method : std::string_view());
  question += ' ';
  question += path;
  if (const auto known = numbers_.find(question); known != numbers_.end()) return known->second;
  if (numbers_.size() >= questions_max) return none;
  const auto number = static_cast<std::uint32_t>(numbers_.size());
  by_number_.push_back(&numbers_.emplace(std::move(question), number).first->first);
  return number;
}

LogQuestions::Asked LogQuestions::asked_by(std::uint32_t number) const {
  if (number >= by_number_.size()) return {};
  const std::string_view question = *by_number_[number];
  const std::size_t space = question.find(' ');
  return {question.substr(0, space), question.substr(space + 1)};
}

}  // namespace classgate::planning
