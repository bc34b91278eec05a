"""A tenant's alias onto models of the platform becomes a link where one alias of the platform has them.

The others go on working, at the operator's price; `doctor` lists them.
"""

from django.db import migrations


def make_links(apps, schema_editor):
    Alias = apps.get_model("routing", "Alias")
    for alias in Alias.objects.filter(tenant__isnull=False).iterator():
        targets = list(alias.targets.select_related("provider_model__provider"))
        foreign = [t for t in targets if t.provider_model.provider.tenant_id is None]
        linked = only_alias_of(Alias, foreign) if len(foreign) == len(targets) else None
        if linked is None:
            alias.targets.filter(pk__in=[t.pk for t in foreign]).update(is_legacy=True)
        else:
            make_link(apps, alias, linked)


def only_alias_of(Alias, targets):
    """The alias of the platform that leads to all these models, if no other leads to any of them."""
    having = Alias.objects.filter(tenant=None, enabled=True)
    found = [
        set(having.filter(targets__provider_model=t.provider_model_id).values_list("pk", flat=True))
        for t in targets
    ]
    if not found or len(found[0]) != 1 or any(each != found[0] for each in found):
        return None
    return Alias.objects.get(pk=found[0].pop())


def make_link(apps, alias, linked):
    """Keys that were granted the alias go on using it: they need to be granted both."""
    AliasGrant = apps.get_model("routing", "AliasGrant")
    alias.platform_alias = linked
    alias.save(update_fields=["platform_alias"])
    alias.targets.all().delete()
    for key_id in list(alias.grants.values_list("api_key_id", flat=True)):
        AliasGrant.objects.get_or_create(api_key_id=key_id, alias=linked)


class Migration(migrations.Migration):

    dependencies = [
        ("routing", "0003_links"),
    ]

    operations = [
        migrations.RunPython(make_links, migrations.RunPython.noop, elidable=True),
    ]
