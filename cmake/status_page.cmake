# The status page that the admin listener answers / with: web/status, made one file by esbuild and
# put into the program as a text. Without node or web/node_modules the program says instead how to
# get it, and is complete otherwise.
find_program(PAGEWIRE_NODE NAMES node nodejs)
set(web ${CMAKE_SOURCE_DIR}/web)
if(PAGEWIRE_NODE AND EXISTS ${web}/node_modules/uplot AND EXISTS ${web}/node_modules/esbuild)
  set(page ${CMAKE_BINARY_DIR}/status_page.html)
  set(policy ${CMAKE_BINARY_DIR}/status_page.policy)
  file(GLOB page_sources CONFIGURE_DEPENDS ${web}/status/*)
  add_custom_command(OUTPUT ${page} ${policy}
    COMMAND ${PAGEWIRE_NODE} ${web}/status/build.mjs ${page} ${policy}
    DEPENDS ${page_sources} ${web}/package-lock.json COMMENT "Bundling the status page" VERBATIM)
else()
  message(STATUS "node or web/node_modules is missing, so the status page is left out; "
    "./dev build puts it in (or: npm ci --prefix web, then cmake again)")
  set(page ${web}/status/absent.html)
  set(policy ${web}/status/absent.policy)
endif()
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/status_page.cpp
  COMMAND ${CMAKE_COMMAND} -D PAGE=${page} -D POLICY=${policy}
    -D OUTPUT=${CMAKE_BINARY_DIR}/status_page.cpp -P ${CMAKE_SOURCE_DIR}/cmake/embed_page.cmake
  DEPENDS ${page} ${policy} ${CMAKE_SOURCE_DIR}/cmake/embed_page.cmake VERBATIM)
target_sources(pagewire_service PRIVATE ${CMAKE_BINARY_DIR}/status_page.cpp)
