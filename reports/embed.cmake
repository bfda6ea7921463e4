# cmake -DOUTPUT=x.cc -DASSETS=a;b -P embed.cmake: every file as a raw string of namespace entrain::reports::assets, named by its file
# name with dots as underscores.
set(code "#include \"reports/assets.h\"\n\nnamespace entrain::reports::assets {\n")
foreach(asset IN LISTS ASSETS)
  get_filename_component(name ${asset} NAME)
  string(REPLACE "." "_" name ${name})
  # Written through configure-time variables a semicolon would split the text.
  file(READ ${asset} text HEX)
  string(LENGTH "${text}" length)
  math(EXPR bytes "${length} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" text "${text}")
  # Adjacent literals of at most 64 bytes: \x takes every hexadecimal digit that follows, and literals end it.
  string(REGEX REPLACE "(\\\\x[0-9a-f][0-9a-f])" "\\1" text "${text}")
  string(REPEAT "\\\\x[0-9a-f][0-9a-f]" 64 chunk)
  string(REGEX REPLACE "(${chunk})" "\\1\"\n    \"" text "${text}")
  string(APPEND code "const std::string_view ${name}(\n    \"${text}\", ${bytes});\n")
endforeach()
string(APPEND code "}  // namespace entrain::reports::assets\n")
file(WRITE ${OUTPUT} "${code}")
