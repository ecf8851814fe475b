"""The API's endpoints, a module a family.  A handler takes (account, params, *ids) and returns the object
or the list.

Parameters arrive validated and converted; `expand` is applied by the caller for single objects, by `page`
for lists.
"""
