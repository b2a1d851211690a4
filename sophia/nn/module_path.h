#pragma once

#include <string>
#include <string_view>

namespace sophia::nn {

// Whether `name` is the end of a module's path, in whole parts: "q_proj" and "self_attn.q_proj" of
// "model.layers.0.self_attn.q_proj".
inline bool EndsWithModule(std::string_view path, const std::string& name) {
  return path == name || path.ends_with("." + name);
}

}  // namespace sophia::nn
