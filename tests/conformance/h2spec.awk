# Reads h2spec's JUnit report, which has an element a line, and prints it as TAP. A case that h2spec
# left out by itself has shown nothing: it counts as failed.
function text(s) {
    gsub(/&#34;/, "\"", s)
    gsub(/&#39;/, "'", s)
    gsub(/&lt;/, "<", s)
    gsub(/&gt;/, ">", s)
    gsub(/&amp;/, "\\&", s)
    return s
}
function attribute(name,    s) {
    s = $0
    sub(".* " name "=\"", "", s)
    sub(/".*/, "", s)
    return text(s)
}
function tell() {
    if (name != "")
        printf "%s %d %s%s\n", why == "" ? "ok" : "not ok", ++n, name, why
    name = ""
}
/<testcase / {
    tell()
    name = attribute("package") ": " attribute("classname")
    why = ""
}
/<skipped>/ { why = " (left out by h2spec)" }
/<(error|failure)>/ { why = " (see its log)" }
END {
    tell()
    print "1.." n + 0
}
