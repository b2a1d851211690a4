# sophia_parquet.so, which the program loads when it meets a Parquet file: nothing else sees Arrow
# (docs/adr/0013). libarrow is found where tools/setup.sh put it, or beside the module.
file(STRINGS ${SOPHIA_DEPS_DIR}/include/arrow/util/config.h version
     REGEX "^#define ARROW_SO_VERSION \"[0-9]+\"$")
string(REGEX MATCH "[0-9]+" version "${version}")
add_library(sophia_parquet MODULE sophia/parquet/module.cc sophia/parquet/row_json.cc)
target_include_directories(sophia_parquet PRIVATE ${PROJECT_SOURCE_DIR})
target_include_directories(sophia_parquet SYSTEM PRIVATE ${SOPHIA_DEPS_DIR}/include)
target_link_libraries(sophia_parquet PRIVATE nlohmann_json::nlohmann_json
  ${SOPHIA_DEPS_DIR}/lib/libparquet.so.${version} ${SOPHIA_DEPS_DIR}/lib/libarrow.so.${version})
set_target_properties(sophia_parquet PROPERTIES
  PREFIX "" CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}
  BUILD_RPATH "$ORIGIN;${SOPHIA_DEPS_DIR}/lib")
add_dependencies(sophia sophia_parquet)
