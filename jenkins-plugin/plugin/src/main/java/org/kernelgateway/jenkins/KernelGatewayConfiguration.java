package org.kernelgateway.jenkins;

import hudson.Extension;
import hudson.ExtensionList;
import java.util.ArrayList;
import java.util.List;
import jenkins.model.GlobalConfiguration;
import org.jenkinsci.Symbol;
import org.kohsuke.stapler.DataBoundSetter;

/** Manage Jenkins » System » Kernel gateways. As code: unclassified: kernelGateways: gateways: […]. */
@Extension
@Symbol("kernelGateways")
public class KernelGatewayConfiguration extends GlobalConfiguration {
    private List<KernelGateway> gateways = new ArrayList<>();

    public KernelGatewayConfiguration() {
        load();
    }

    public static KernelGatewayConfiguration get() {
        return ExtensionList.lookupSingleton(KernelGatewayConfiguration.class);
    }

    /** In the order of the form: the first one is what jobs use that name none. */
    public List<KernelGateway> getGateways() {
        return List.copyOf(gateways);
    }

    @DataBoundSetter
    public void setGateways(List<KernelGateway> gateways) {
        this.gateways = gateways == null ? new ArrayList<>() : new ArrayList<>(gateways);
        save();
    }

    @Override
    public boolean configure(org.kohsuke.stapler.StaplerRequest request, net.sf.json.JSONObject form) {
        // An emptied list is not submitted at all.
        gateways = new ArrayList<>();
        request.bindJSON(this, form);
        save();
        return true;
    }
}
