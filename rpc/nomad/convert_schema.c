#include "rpc/nomad/convert_schema.h"

#include "reactor/alloc.h"

/* Everything is on the heap, strings too, so that protobuf-c's own destructor takes the tree. */
#define NEW(type, init)                  \
    ({                                   \
        type *new_ = ALLOC_NEW(type);    \
        *new_ = (type)init;              \
        new_;                            \
    })

static Hcl__Spec *spec_new(Hcl__Spec__BlockCase which)
{
    Hcl__Spec *spec = NEW(Hcl__Spec, HCL__SPEC__INIT);

    spec->block_case = which;
    return spec;
}

static Hcl__Spec *attr_new(const struct option_row *option)
{
    Hcl__Spec *spec = spec_new(HCL__SPEC__BLOCK_ATTR);

    /* With its name, although an attribute of an object would get it from the object's key: inside
     * a Default it would not, and the agent would find nothing. */
    spec->attr = NEW(Hcl__Attr, HCL__ATTR__INIT);
    spec->attr->name = alloc_strdup(option->key);
    spec->attr->type = alloc_strdup(option_hcl_type(option));
    spec->attr->required = option->required;
    return spec;
}

static Hcl__Spec *default_new(Hcl__Spec *primary, const char *literal)
{
    Hcl__Spec *spec = spec_new(HCL__SPEC__BLOCK_DEFAULT);

    spec->default_ = NEW(Hcl__Default, HCL__DEFAULT__INIT);
    spec->default_->primary = primary;
    spec->default_->default_ = spec_new(HCL__SPEC__BLOCK_LITERAL);
    spec->default_->default_->literal = NEW(Hcl__Literal, HCL__LITERAL__INIT);
    spec->default_->default_->literal->value = alloc_strdup(literal);
    return spec;
}

static Hcl__Spec *block_new(const struct option_row *option)
{
    Hcl__Spec *spec = spec_new(HCL__SPEC__BLOCK_BLOCK_VALUE);

    spec->block_value = NEW(Hcl__Block, HCL__BLOCK__INIT);
    spec->block_value->name = alloc_strdup(option->key);
    spec->block_value->required = option->required;
    spec->block_value->nested = convert_schema(option->nested);
    return spec;
}

static Hcl__Spec *option_spec(const struct option_row *option)
{
    if (option->type == OPTION_TYPE_BLOCK)
        return block_new(option);
    if (option->schema_default != NULL)
        return default_new(attr_new(option), option->schema_default);
    return attr_new(option);
}

static size_t count(const struct option_row *options)
{
    size_t n = 0;

    while (options[n].key != NULL)
        n++;
    return n;
}

Hcl__Spec *convert_schema(const struct option_row *options)
{
    Hcl__Spec *spec = spec_new(HCL__SPEC__BLOCK_OBJECT);
    Hcl__Object *object = NEW(Hcl__Object, HCL__OBJECT__INIT);
    size_t n = count(options);

    spec->object = object;
    object->attributes =
        (Hcl__Object__AttributesEntry **)alloc_zero(n + 1, sizeof(*object->attributes));
    for (const struct option_row *option = options; option->key != NULL; option++) {
        Hcl__Object__AttributesEntry *entry =
            NEW(Hcl__Object__AttributesEntry, HCL__OBJECT__ATTRIBUTES_ENTRY__INIT);
        entry->key = alloc_strdup(option->key);
        entry->value = option_spec(option);
        object->attributes[object->n_attributes++] = entry;
    }
    return spec;
}
